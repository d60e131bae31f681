//! Power cuts: only what was synced is sure to be on the disk.
//!
//! `kill -9` keeps what the system holds in memory, so it cannot tell whether anything was synced.
//! Here the calls of a real server are recorded while it is written to, dies and comes back. From
//! the record the disk is made again as a power cut could have left it at many moments: what was
//! synced is there, and of the rest nothing, all, or any part ([`disk`]). On each such disk the
//! server must start, have everything that was answered or shown before that moment and nothing
//! that was not sent, and pass `acclaim check`.
//!
//! `ACCLAIM_POWER_CUTS` says how many moments are tried.

mod calls;
mod disk;
mod disk_tests;
mod history;
mod recorder;
mod writers;

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::client::Client;
use crate::seeded;
use crate::server::{Server, check_is_clean};
use disk::{Call, Disk, Event, Image, Survival, read_image, write_image};
use history::{History, edges};
use recorder::{IsMoment, Recorded, Tape};
use writers::Writers;

/// The directory of the data under the root of what is recorded.
const DATA: &str = "data";
/// What one life of a server takes at most, recorded.
const LIFE_LIMIT: Duration = Duration::from_secs(60);
/// Batches that each writer sends in one life.
const BATCHES: usize = 80;
/// Servers that are tried at the same time.
const JUDGES: usize = 3;

/// In the midst of what each life of the server ends. The last one is stopped well.
const DEATHS: [IsMoment; 3] = [
    // A commit is written and not durable: the next start finds it and must make it so.
    |synced| synced.starts_with("data/log/") && synced.ends_with(".log"),
    // A segment has its name, which is not durable.
    |synced| synced == "data/log",
    // A run of the tables is written and not yet taken.
    |synced| synced.starts_with("data/base/keyspaces/1"),
];

/// A moment to cut the power at.
#[derive(Clone, Debug)]
struct Cut {
    tick: u64,
    survival: Survival,
    /// The last thing that was done.
    after: Option<String>,
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts() {
    seeded(async |_, mut chance| {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("disk");
        std::fs::create_dir(&root).unwrap();
        let tape = Tape::new(&root);
        let mut history = History::default();
        for (life, death) in DEATHS.map(Some).into_iter().chain([None]).enumerate() {
            live(
                &tape,
                &root.join(DATA),
                life,
                death,
                &mut history,
                &mut chance,
            )
            .await;
        }
        let events = tape.events();
        assert_complete(&events, &root);
        assert_rich(&events);
        let cuts = acclaim_testkit::settings::number("ACCLAIM_POWER_CUTS", 60);
        let cuts = draw(cuts, &events, &history, &mut chance);
        judge_all(&events, cuts, &history, &mut chance);
    });
}

/// One life of the server: it starts, is looked at, is written to, and ends.
async fn live(
    tape: &Arc<Tape>,
    data: &Path,
    life: usize,
    death: Option<IsMoment>,
    history: &mut History,
    chance: &mut StdRng,
) {
    let server = Recorded::start(tape, data);
    let from = tape.now();
    let seen = edges(&mut Client::new(server.address)).await;
    history.see(&seen, from, tape.now());
    let writers = Writers::begin(tape, &server, BATCHES, life, chance);
    if let Some(moment) = death {
        let begin = Instant::now();
        let answered = chance.random_range(120..240);
        while writers.answered() < answered {
            assert!(begin.elapsed() < LIFE_LIMIT, "the writers are too slow");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.die_before_sync(moment);
        writers.end(history).await;
        server.wait_for_death();
    } else {
        writers.end(history).await;
        server.stop();
    }
}

/// What was recorded, done again, gives the files that are there. So nothing was overlooked.
fn assert_complete(events: &[Event], root: &Path) {
    let mut disk = Disk::default();
    events.iter().for_each(|event| disk.apply(event));
    let (recorded, real) = (disk.live(), read_image(root).unwrap());
    let names = |image: &Image| image.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&recorded), names(&real), "the same files");
    for (path, bytes) in real {
        assert!(recorded[&path] == bytes, "{path} was written unseen");
    }
}

/// The record has what is to be tried: segments begun and removed, and tables merged.
fn assert_rich(events: &[Event]) {
    let count = |is: fn(&Call) -> bool| events.iter().filter(|event| is(&event.call)).count();
    let begun = count(|call| matches!(call, Call::Rename { to, .. } if to.ends_with(".log")));
    let removed = count(|call| matches!(call, Call::Remove(path) if path.ends_with(".log")));
    let runs = count(|call| matches!(call, Call::Rename { to, .. } if to.ends_with("/current")));
    assert!(
        begun > 3 && removed > 1 && runs > 10,
        "{begun} segments begun, {removed} removed, {runs} versions of the tables"
    );
}

/// Moments of each sort: right after an answer, around a change of names, in the first start, and
/// anywhere.
fn draw(count: u64, events: &[Event], history: &History, chance: &mut StdRng) -> Vec<Cut> {
    let last = events.last().map_or(0, |event| event.ended);
    let answers = history.answers();
    let is_name = |call: &Call| {
        matches!(
            call,
            Call::Rename { .. }
                | Call::Remove(_)
                | Call::MakeDir(_)
                | Call::Open { create: true, .. }
        )
    };
    let named = events.iter().filter(|event| is_name(&event.call));
    let named: Vec<u64> = named.map(|event| event.ended).collect();
    let first_answer = answers[0];
    let mut cuts: Vec<Cut> = (0..count)
        .map(|nth| {
            let tick = match nth % 4 {
                0 => *answers.choose(chance).unwrap(),
                1 => named.choose(chance).unwrap() + chance.random_range(0..6),
                2 if nth % 8 == 2 => chance.random_range(0..=first_answer),
                _ => chance.random_range(0..=last),
            };
            let survival = match chance.random_range(0..8) {
                0..3 => Survival::Nothing,
                3 => Survival::Everything,
                4 => Survival::NamesUntil(tick.saturating_sub(chance.random_range(0..200))),
                _ => Survival::Percent(*[5, 50, 95].choose(chance).unwrap()),
            };
            Cut {
                tick,
                survival,
                after: None,
            }
        })
        .collect();
    cuts.extend(after_starts(history));
    cuts.sort_by_key(|cut| cut.tick);
    cuts
}

/// The moments at which what an earlier process left undone would be missed: right after a start
/// showed what it found, and right after the first answer that followed.
fn after_starts(history: &History) -> Vec<Cut> {
    let answers = history.answers();
    let mut cuts = Vec::new();
    for look in history.looks() {
        let answer = answers.iter().find(|tick| *tick > look);
        cuts.extend([Some(look), answer].into_iter().flatten().map(|tick| Cut {
            tick: *tick,
            survival: Survival::Nothing,
            after: None,
        }));
    }
    cuts
}

/// Makes the disks one after the other and has them judged, a few at the same time.
fn judge_all(events: &[Event], cuts: Vec<Cut>, history: &History, chance: &mut StdRng) {
    let (send, receive) = mpsc::sync_channel::<(Cut, Image)>(1);
    // It goes with the last judge, so that nobody waits for judges who failed.
    let receive = Arc::new(Mutex::new(receive));
    std::thread::scope(|scope| {
        for _ in 0..JUDGES {
            let receive = Arc::clone(&receive);
            scope.spawn(move || {
                loop {
                    let next = receive.lock().unwrap().recv();
                    let Ok((cut, image)) = next else { return };
                    judge(&cut, &image, history);
                }
            });
        }
        drop(receive);
        let mut disk = Disk::default();
        let mut events = events.iter().peekable();
        for mut cut in cuts {
            while let Some(event) = events.next_if(|event| event.ended <= cut.tick) {
                disk.apply(event);
                cut.after = Some(told(event));
            }
            let image = disk.after_power_cut(cut.survival, chance);
            if send.send((cut, image)).is_err() {
                break;
            }
        }
        drop(send);
    });
}

fn told(event: &Event) -> String {
    let mut told = format!("{:?}", event.call);
    told.truncate(200);
    told
}

fn judge(cut: &Cut, image: &Image, history: &History) {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("disk");
    std::fs::create_dir(&root).unwrap();
    write_image(image, &root).unwrap();
    let data = root.join(DATA);
    let server = Server::try_start(&data, &[]);
    let server = server.unwrap_or_else(|refusal| panic!("no start after {cut:?}: {refusal:#?}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let found = runtime.block_on(async { edges(&mut Client::new(server.address)).await });
    let faults = history.faults(&found, cut.tick);
    assert!(
        faults.is_empty(),
        "after {cut:?}: {} faults, the first: {:#?}",
        faults.len(),
        &faults[..faults.len().min(3)]
    );
    server.stop_cleanly();
    check_is_clean(&data);
}
