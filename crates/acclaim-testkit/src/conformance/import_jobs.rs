//! Imports that run as jobs: what a streamed import does, and over any ending.

use acclaim_core::port::{ImportSpec, JobState};
use acclaim_core::transfer::{Defaults, Format, MAX_REJECTIONS};

use super::words::*;
use super::{Ending, Stage};

fn ndjson() -> ImportSpec {
    ImportSpec {
        format: Format::Ndjson,
        defaults: Defaults::default(),
    }
}

/// Likes and dislikes of which every second takes back another, with times and without, and now
/// and then a line that is wrong.
fn lines(number: u64) -> String {
    let line = |n: u64| {
        // An odd multiplier spreads users and targets without a source of chance.
        let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let (user, target) = (mixed % 97, (mixed >> 10) % 53);
        let kind = ["dislikes", "likes", "likes"][(n % 3) as usize];
        let at = match n % 5 {
            0 => String::new(),
            _ => format!(",\"at\":\"2025-0{}-11T10:00:00Z\"", 1 + mixed % 9),
        };
        match n % 7 {
            5 => format!("{{\"kind\":\"{kind}\",\"userId\":{user}}}\n"),
            6 => "\r\n".to_owned(),
            _ => format!(
                "{{\"kind\":\"{kind}\",\"userId\":{user},\"targetType\":\"POST\",\"targetId\":\"{target}\"{at}}}\n"
            ),
        }
    };
    (0..number).map(line).collect()
}

/// The job's summary is the stream's, its edges are the model's, and so is everything else.
pub async fn a_job_does_what_a_stream_does(mut stage: Stage) {
    let text = lines(4_000);
    let job = stage.import(ndjson(), &text).await;
    let summary = job.import.unwrap();
    assert!(summary.set > 0 && summary.unchanged > 0);
    assert_eq!(summary.rejections.len(), MAX_REJECTIONS);
    assert!(summary.rejected > MAX_REJECTIONS as u64);
    assert_eq!(
        (job.done, job.total),
        (text.len() as u64, text.len() as u64)
    );
    assert!(job.job.starts_with("import"), "{}", job.job);
    stage.finish().await;
}

/// The same text again: where every edge has its time and its own line, nothing doubles.
pub async fn the_same_text_again(mut stage: Stage) {
    let text: String = (0..1_500)
        .map(|n| {
            format!("{{\"kind\":\"claps\",\"userId\":{n},\"targetType\":\"POST\",\"targetId\":1,\"at\":\"2025-01-01T00:00:00Z\"}}\n")
        })
        .collect();
    assert_eq!(
        stage.import(ndjson(), &text).await.import.unwrap().set,
        1_500
    );
    let again = stage.import(ndjson(), &text).await.import.unwrap();
    assert_eq!((again.set, again.unchanged), (0, 1_500));
    stage.finish().await;
}

/// CSV with defaults, values over several lines, and no line feed at the end.
pub async fn csv_with_defaults(mut stage: Stage) {
    let records = (0..2_600).map(|n| match n % 4 {
        3 => format!("\"{n}\n{n}\",x\r\n"),
        _ => format!("{},\"p{}\"\r\n", n % 301, n % 67),
    });
    let text = format!(
        "\u{feff}\r\nuserId,targetId\r\n{}7,last",
        records.collect::<String>()
    );
    let spec = ImportSpec {
        format: Format::Csv,
        defaults: Defaults {
            kind: Some(CLAPS),
            target_type: Some(target_type("TRACK")),
        },
    };
    let summary = stage.import(spec, &text).await.import.unwrap();
    assert_eq!(summary.rejected, 650);
    assert_eq!(summary.rejections[0].line, 6);
    stage.finish().await;
}

/// A text without a line is done at once.
pub async fn an_empty_text(mut stage: Stage) {
    let job = stage.import(ndjson(), "").await;
    assert_eq!((job.done, job.total), (0, 0));
    stage.import(ndjson(), "\n\n").await;
    stage.finish().await;
}

/// A header that cannot be used ends the job, and says why.
pub async fn an_unusable_header(mut stage: Stage) {
    let spec = ImportSpec {
        format: Format::Csv,
        ..ndjson()
    };
    let job = stage.start_import(spec, "who,what\n1,2\n").await;
    let job = stage.job_ended(job).await;
    assert_eq!(job.state, JobState::Failed);
    assert!(job.error.unwrap().contains("who"));
    assert_eq!(job.import.unwrap().lines, 0);
    // Those that wait behind it are not held up.
    stage.import(ndjson(), &lines(10)).await;
    stage.finish().await;
}

/// A text whose sender went away was never there.
pub async fn a_text_that_is_given_up(mut stage: Stage) {
    let last = stage.import(ndjson(), &lines(3)).await.id;
    let engine = stage.engine();
    let mut spool = engine.begin_import(ndjson()).await.unwrap();
    spool.write(lines(5).as_bytes()).await.unwrap();
    drop(spool);
    assert_eq!(engine.job(last + 1).await, Ok(None));
    drop(engine);
    stage.finish().await;
}

/// A job goes on over a crash and a stop, counts no line twice, and is known afterwards.
pub async fn import_jobs_outlive_reopening(mut stage: Stage) {
    for (number, ending) in [(6_000, Ending::Crash), (9_000, Ending::Clean)] {
        let text = lines(number);
        let job = stage.start_import(ndjson(), &text).await;
        stage.reopen_under_way(ending).await;
        let job = stage.job_ended(job).await;
        assert_eq!(job.state, JobState::Done, "{job:?}");
        stage.imported(&ndjson(), &text, &job);
        stage.compare().await;
        stage.reopen(Ending::Crash).await;
        assert_eq!(stage.engine().job(job.id).await, Ok(Some(job)));
        stage.advance(DAY);
    }
    stage.finish().await;
}
