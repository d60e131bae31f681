//! The rules of the disk, each on a few calls.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::disk::{Call, Disk, Event, Image, Survival};

/// Calls one after the other; each begins after the one before ended.
fn disk(calls: &[Call]) -> Disk {
    let mut disk = Disk::default();
    for (nth, call) in (0..).zip(calls) {
        let (began, ended) = (2 * nth + 1, 2 * nth + 2);
        let call = call.clone();
        disk.apply(&Event { began, ended, call });
    }
    disk
}

fn open(path: &str, fd: i32) -> Call {
    Call::Open {
        path: path.to_owned(),
        fd,
        create: true,
        truncate: false,
        append: false,
    }
}

fn open_dir(path: &str, fd: i32) -> Call {
    Call::Open {
        path: path.to_owned(),
        fd,
        create: false,
        truncate: false,
        append: false,
    }
}

fn write(fd: i32, at: u64, text: &str) -> Call {
    Call::Write(fd, Some(at), text.as_bytes().to_vec())
}

fn rename(from: &str, to: &str) -> Call {
    Call::Rename {
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

fn left(calls: &[Call], survival: Survival) -> Image {
    disk(calls).after_power_cut(survival, &mut StdRng::seed_from_u64(1))
}

fn file(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

/// A file `a` with a durable name and durable content.
fn durable() -> Vec<Call> {
    vec![
        open("a", 3),
        write(3, 0, "old"),
        Call::Sync(3),
        open_dir("", 4),
        Call::Sync(4),
    ]
}

#[test]
fn what_is_synced_stays_and_what_is_not_goes() {
    let mut calls = durable();
    calls.push(write(3, 0, "new"));
    let image = left(&calls, Survival::Nothing);
    assert_eq!(image, Image::from([("a".to_owned(), file("old"))]));
    let image = left(&calls, Survival::Everything);
    assert_eq!(image, Image::from([("a".to_owned(), file("new"))]));
    calls.push(Call::Sync(3));
    let image = left(&calls, Survival::Nothing);
    assert_eq!(image, Image::from([("a".to_owned(), file("new"))]));
}

#[test]
fn a_synced_file_without_a_synced_name_is_gone() {
    let calls = [open("a", 3), write(3, 0, "text"), Call::Sync(3)];
    assert_eq!(left(&calls, Survival::Nothing), Image::new());
}

#[test]
fn a_synced_name_without_a_synced_file_is_empty() {
    let calls = [
        open("a", 3),
        write(3, 0, "text"),
        open_dir("", 4),
        Call::Sync(4),
    ];
    let image = left(&calls, Survival::Nothing);
    assert_eq!(image, Image::from([("a".to_owned(), file(""))]));
}

#[test]
fn a_directory_needs_its_parent_synced() {
    let mut calls = vec![Call::MakeDir("d".to_owned()), open("d/a", 3), Call::Sync(3)];
    calls.extend([open_dir("d", 4), Call::Sync(4)]);
    assert_eq!(left(&calls, Survival::Nothing), Image::new());
    calls.extend([open_dir("", 5), Call::Sync(5)]);
    let image = left(&calls, Survival::Nothing);
    let expected = Image::from([("d".to_owned(), None), ("d/a".to_owned(), file(""))]);
    assert_eq!(image, expected);
}

#[test]
fn a_rename_happens_whole_or_not_at_all() {
    let mut calls = durable();
    calls.extend([
        open("b", 5),
        write(5, 0, "new"),
        Call::Sync(5),
        Call::Sync(4),
    ]);
    calls.push(rename("b", "a"));
    let both = [("a".to_owned(), file("old")), ("b".to_owned(), file("new"))];
    assert_eq!(left(&calls, Survival::Nothing), Image::from(both));
    let renamed = Image::from([("a".to_owned(), file("new"))]);
    assert_eq!(left(&calls, Survival::Everything), renamed);
    assert_eq!(left(&calls, Survival::NamesUntil(u64::MAX)), renamed);
    calls.push(Call::Sync(4));
    assert_eq!(left(&calls, Survival::Nothing), renamed);
}

#[test]
fn a_removed_name_comes_back_unless_its_directory_is_synced() {
    let mut calls = durable();
    calls.push(Call::Remove("a".to_owned()));
    let back = Image::from([("a".to_owned(), file("old"))]);
    assert_eq!(left(&calls, Survival::Nothing), back);
    calls.push(Call::Sync(4));
    assert_eq!(left(&calls, Survival::Nothing), Image::new());
}

#[test]
fn a_sync_covers_nothing_that_ended_after_it_began() {
    let mut disk = disk(&durable());
    let call = write(3, 0, "new");
    disk.apply(&Event {
        began: 21,
        ended: 23,
        call,
    });
    let call = Call::Sync(3);
    disk.apply(&Event {
        began: 22,
        ended: 24,
        call,
    });
    let image = disk.after_power_cut(Survival::Nothing, &mut StdRng::seed_from_u64(1));
    assert_eq!(image, Image::from([("a".to_owned(), file("old"))]));
}

#[test]
fn pages_of_one_write_survive_each_for_itself() {
    let mut calls = durable();
    calls.push(Call::Write(3, Some(0), vec![7; 64 * 4_096]));
    let image = left(&calls, Survival::Percent(50));
    let bytes = image["a"].as_ref().unwrap();
    let survived = |page: &&[u8]| page[100] == 7;
    let pages = bytes.chunks(4_096).filter(survived).count();
    assert!((16..48).contains(&pages), "{pages} of 64 pages");
}

#[test]
fn places_of_descriptors_are_followed() {
    let calls = [
        open("a", 3),
        Call::Write(3, None, b"one".to_vec()),
        Call::Duplicate { fd: 3, new: 4 },
        Call::Write(4, None, b"two".to_vec()),
        Call::Seek(3, 1),
        Call::Read(4, 1),
        Call::Write(3, None, b"X".to_vec()),
        Call::Resize(3, 5),
        Call::Close(3),
    ];
    let image = disk(&calls).live();
    assert_eq!(image, Image::from([("a".to_owned(), file("onXtw"))]));
}

#[test]
fn an_appending_descriptor_writes_at_the_end() {
    let append = Call::Open {
        path: "a".to_owned(),
        fd: 5,
        create: false,
        truncate: false,
        append: true,
    };
    let mut calls = durable();
    calls.extend([append, Call::Write(5, None, b"+".to_vec())]);
    calls.extend([write(3, 4, "!"), Call::Write(5, None, b"+".to_vec())]);
    let image = disk(&calls).live();
    assert_eq!(image, Image::from([("a".to_owned(), file("old+!+"))]));
}
