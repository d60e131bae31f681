//! A log whose newest segment was cut, zeroed or changed after the server died.
//!
//! The server must refuse to start and say why and what to do, or lose only what was never
//! acknowledged. With loss accepted it starts, and what is left is sound.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use crate::load::{Load, Record};
use crate::round::Round;
use crate::seeded;
use crate::server::{Refusal, Server, check_is_clean};
use crate::world::World;

/// Something that happens to the newest segment. `used` is the end of what was written.
type Damage = fn(&mut Vec<u8>, used: usize, &mut StdRng);

const DAMAGES: [(&str, Damage); 6] = [
    ("cut inside the last commits", |bytes, used, chance| {
        bytes.truncate(used - chance.random_range(1..used.min(400)));
    }),
    ("the last bytes are zero", |bytes, used, chance| {
        let from = used - chance.random_range(1..used.min(400));
        bytes[from..].fill(0);
    }),
    (
        "a bit of the last bytes is flipped",
        |bytes, used, chance| {
            let place = used - chance.random_range(1..used.min(60));
            bytes[place] ^= 1 << chance.random_range(0..8);
        },
    ),
    ("a bit in the middle is flipped", |bytes, used, chance| {
        let place = chance.random_range(used / 3..used / 2);
        bytes[place] ^= 1 << chance.random_range(0..8);
    }),
    ("a stretch in the middle is zero", |bytes, used, chance| {
        let from = chance.random_range(used / 4..used / 2);
        bytes[from..from + used / 8].fill(0);
    }),
    ("the file is empty", |bytes, _, _| bytes.clear()),
];

#[test]
fn a_damaged_log_is_refused_or_loses_nothing() {
    seeded(async |_, mut chance| {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let (records, ticks) = loaded(&data, &mut chance).await;
        for (name, damage) in DAMAGES {
            let copy = home.path().join(name.replace(' ', "-"));
            copy_dir(&data, &copy);
            apply(&copy, damage, &mut chance);
            match Server::try_start(&copy, &[]) {
                Ok(server) => {
                    let ticks = std::sync::atomic::AtomicU64::new(ticks);
                    let (mut world, records) = (World::default(), records.clone());
                    world.judge(server.address, Round(1), records, &ticks).await;
                    server.stop_cleanly();
                    check_is_clean(&copy);
                }
                Err(refusal) => {
                    assert_explained(name, &copy, &refusal);
                    go_on_without(name, &copy).await;
                }
            }
        }
    });
}

/// Bytes that came after the last commit and never were one take nothing with them.
#[test]
fn what_was_never_a_commit_is_no_loss() {
    seeded(async |_, mut chance| {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let (records, ticks) = loaded(&data, &mut chance).await;
        let segment = newest_segment(&data);
        let mut bytes = fs::read(&segment).unwrap();
        let used = used(&bytes);
        // The beginning of a commit that was being written when the power went: that of the first
        // commit of the segment, in the place of the next one.
        let torn: Vec<u8> = bytes[..chance.random_range(3..20)].to_vec();
        bytes.resize(bytes.len().max(used + torn.len()), 0);
        bytes[used..used + torn.len()].copy_from_slice(&torn);
        fs::write(&segment, bytes).unwrap();
        match Server::try_start(&data, &[]) {
            Ok(server) => {
                let ticks = std::sync::atomic::AtomicU64::new(ticks);
                let mut world = World::default();
                world.judge(server.address, Round(1), records, &ticks).await;
                server.stop_cleanly();
                check_is_clean(&data);
            }
            Err(refusal) => panic!("a torn tail is what every power cut leaves: {refusal:?}"),
        }
    });
}

/// Loads a new store and kills its server.
async fn loaded(data: &Path, chance: &mut StdRng) -> (Vec<Record>, u64) {
    let server = Server::start(data);
    let load = Load::begin(server.address, Round(1), chance);
    while load.progress() < 1_500 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    server.kill();
    let ticks = load.ticks.clone();
    let records = load.records().await;
    (records, ticks.load(std::sync::atomic::Ordering::SeqCst))
}

fn assert_explained(name: &str, data: &Path, refusal: &Refusal) {
    assert_eq!(refusal.status.code(), Some(2), "{name}: {refusal:?}");
    let place = data.to_string_lossy();
    for word in [&*place, "accept"] {
        assert!(
            refusal.errors.contains(word),
            "{name}: {word:?} is not in {refusal:?}"
        );
    }
}

/// The way on that the refusal names.
async fn go_on_without(name: &str, data: &Path) {
    let accepted = [("ACCLAIM_ENGINE__ACCEPT_LOSS", "true")];
    let server = Server::try_start(data, &accepted);
    let server = server.unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
    let mut world = World::default();
    world.accept(server.address, Round(1)).await;
    server.stop_cleanly();
    check_is_clean(data);
    // What was accepted once is not asked again.
    let server = Server::start(data);
    world.look_again(server.address).await;
    server.stop_cleanly();
}

fn apply(data: &Path, damage: Damage, chance: &mut StdRng) {
    let segment = newest_segment(data);
    let mut bytes = fs::read(&segment).unwrap();
    let used = used(&bytes);
    assert!(used > 1_000, "the newest segment was written to: {used}");
    damage(&mut bytes, used, chance);
    fs::write(&segment, bytes).unwrap();
}

/// Where what was written ends: segments are zeros before.
pub fn used(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1)
}

/// The newest segment of the log that holds anything.
pub fn newest_segment(data: &Path) -> PathBuf {
    let files = fs::read_dir(data.join("log")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.retain(|path| used(&fs::read(path).unwrap()) > 0);
    files.sort();
    files.pop().unwrap()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (to, of) = (to.join(entry.file_name()), entry.file_type().unwrap());
        if of.is_dir() {
            copy_dir(&entry.path(), &to);
        } else if of.is_file() {
            fs::copy(entry.path(), to).unwrap();
        }
        // A socket that the dead server left is nobody's.
    }
}
