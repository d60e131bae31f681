//! What is written is read; what is not an event says so; all of it fits the schema.

use acclaim_core::{Kind, Kinds, TargetType};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SCHEMA: &str = include_str!("../../schema/transition.v1.json");
const LIKE: &str = include_str!("../../schema/examples/like.json");
const UNFOLLOW: &str = include_str!("../../schema/examples/unfollow.json");
const IMPORT: &str = include_str!("../../schema/examples/import.json");
const DOCUMENT: &str = include_str!("../../../../docs/events.md");

fn kinds() -> Kinds {
    Kinds::new([Kind::open("claps-2")]).unwrap()
}

fn read(text: &str) -> Result<Event, Unreadable> {
    Event::read(text.as_bytes(), &kinds())
}

fn like() -> Event {
    Event {
        store: "shop".into(),
        place: "1795168800000000-17".parse().unwrap(),
        previous: Some(Rev(1_795_168_799_000_017)),
        epoch: 1,
        life: 0,
        turn: None,
        numbers: None,
        kind: "likes".into(),
        user: Id::Number(42),
        target: Target {
            target_type: TargetType::parse("POST").unwrap(),
            id: Id::Number(123),
        },
        active: true,
        rev: Rev(1_795_168_800_000_000),
        count: 1_004,
        origin: Some(Origin {
            device_type: Some("ios".into()),
            ip_address: Some("203.0.113.7".parse().unwrap()),
        }),
    }
}

fn unfollow() -> Event {
    Event {
        place: Place::unpartitioned(Rev(1_795_168_800_000_001)),
        previous: None,
        kind: "follows".into(),
        user: Id::Number(u64::MAX),
        target: Target::user(Id::parse("01HF.k_3-z:9").unwrap()),
        active: false,
        rev: Rev(1_795_168_800_000_001),
        count: 0,
        origin: None,
        ..like()
    }
}

/// Its rev is of the time that it was imported with, not of its place.
fn import() -> Event {
    Event {
        life: 3,
        turn: Some(8),
        numbers: Some(Numbers {
            kind: 1,
            target_type: 3,
        }),
        user: Id::parse("01").unwrap(),
        rev: Rev(1_500_000_000_000_000),
        origin: Some(Origin {
            device_type: None,
            ip_address: Some("2001:db8::7".parse().unwrap()),
        }),
        ..like()
    }
}

fn schema() -> Validator {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&schema).unwrap()
}

fn refusals(schema: &Validator, event: &Value) -> Vec<String> {
    let errors = schema.iter_errors(event);
    errors.map(|error| error.to_string()).collect()
}

/// The example as JSON with one field set; `Value::Null` takes it out.
fn with(field: &str, value: Value) -> Value {
    let mut event: Value = serde_json::from_str(LIKE).unwrap();
    let (object, name) = match field.strip_prefix("data.") {
        Some(name) => (&mut event["data"], name),
        None => (&mut event, field),
    };
    let object = object.as_object_mut().unwrap();
    match value {
        Value::Null => object.remove(name),
        value => object.insert(name.to_owned(), value),
    };
    event
}

#[test]
fn the_golden_examples_are_what_is_written() {
    let schema = schema();
    for (golden, event) in [(LIKE, like()), (UNFOLLOW, unfollow()), (IMPORT, import())] {
        let written = String::from_utf8(event.write()).unwrap();
        assert_eq!(written, golden.trim_end());
        assert_eq!(read(golden), Ok(event));
        let value = serde_json::from_str(golden).unwrap();
        assert_eq!(refusals(&schema, &value), Vec::<String>::new());
    }
}

#[test]
fn the_document_shows_what_is_written() {
    let (_, rest) = DOCUMENT.split_once("```json\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let shown: Value = serde_json::from_str(example).unwrap();
    let written: Value = serde_json::from_slice(&like().write()).unwrap();
    assert_eq!(shown, written);
    let names = written.as_object().unwrap().keys();
    let names = names.chain(written["data"].as_object().unwrap().keys());
    for name in names.filter(|name| *name != "data") {
        assert!(
            DOCUMENT.contains(&format!("| `{name}`")),
            "no row of {name}"
        );
    }
}

#[test]
fn unknown_fields_are_passed_over() {
    let event = with("traceparent", json!("00-ab-cd-01"));
    assert_eq!(read(&event.to_string()), Ok(like()));
    let event = with("data.mood", json!({"of": ["many", 1]}));
    assert_eq!(read(&event.to_string()), Ok(like()));
    assert_eq!(refusals(&schema(), &event), Vec::<String>::new());
}

#[test]
fn nothing_that_is_no_json_object_is_read() {
    let deep = "[".repeat(8_000);
    let twice = LIKE.replace("\"life\":0", "\"life\":0,\"life\":0");
    let data_twice = LIKE.replace("\"count\":1004", "\"count\":1004,\"count\":1005");
    for text in ["", "null", "7", "[]", "{", "\u{0}", "<xml/>", &deep, &twice] {
        let refused = read(text).unwrap_err();
        assert!(matches!(refused, Unreadable::Garbage { .. }), "{refused}");
        assert!(refused.to_string().len() < 600, "{refused}");
    }
    let refused = Event::read(b"\xff\xfe{}", &kinds()).unwrap_err();
    assert!(matches!(refused, Unreadable::Garbage { .. }), "{refused}");
    let refused = read(&data_twice).unwrap_err();
    assert!(
        refused.to_string().contains("duplicate field `count`"),
        "{refused}"
    );
    assert!(matches!(
        read(&format!("{LIKE}{{}}")),
        Err(Unreadable::Garbage { .. })
    ));
}

#[test]
fn an_event_has_a_longest_length() {
    let padded = |bytes: usize| LIKE.to_owned() + &" ".repeat(bytes - LIKE.len());
    assert_eq!(read(&padded(MAX_EVENT_BYTES)), Ok(like()));
    let bytes = MAX_EVENT_BYTES + 1;
    assert_eq!(read(&padded(bytes)), Err(Unreadable::TooLong { bytes }));
}

#[test]
fn another_version_says_which() {
    let refused = |field, value| read(&with(field, value).to_string()).unwrap_err();
    let error = refused("type", json!("acclaim.transition.v2"));
    assert_eq!(
        error,
        Unreadable::Version {
            given: "v2".to_owned()
        }
    );
    let error = refused("type", json!("acclaim.user.erased.v1"));
    assert!(matches!(error, Unreadable::Type { .. }), "{error}");
    for version in [json!("0.3"), json!(1.0)] {
        let error = refused("specversion", version);
        assert!(matches!(error, Unreadable::SpecVersion { .. }), "{error}");
    }
    // What else is wrong with a newer version is not ours to judge.
    let newer = json!({"specversion": "1.0", "type": "acclaim.transition.v2"});
    assert!(matches!(
        read(&newer.to_string()),
        Err(Unreadable::Version { .. })
    ));
}

#[test]
fn an_unknown_kind_says_which_there_are() {
    let error = read(&with("data.kind", json!("stars")).to_string()).unwrap_err();
    let expected = "the kind \"stars\" is not configured here; there are likes, follows, claps-2";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn every_field_that_an_event_has_is_missed() {
    let schema = schema();
    let required = [
        "specversion",
        "id",
        "source",
        "type",
        "partitionkey",
        "sequence",
        "epoch",
        "life",
        "data",
        "data.kind",
        "data.userId",
        "data.targetType",
        "data.targetId",
        "data.active",
        "data.rev",
        "data.count",
        "data.partition",
    ];
    for field in required {
        let event = with(field, Value::Null);
        assert_eq!(read(&event.to_string()), Err(Unreadable::Missing { field }));
        assert!(!schema.is_valid(&event), "{field}");
    }
    for field in ["time", "subject", "datacontenttype", "dataschema"] {
        let event = with(field, Value::Null);
        assert_eq!(read(&event.to_string()), Ok(like()), "{field}");
        assert!(!schema.is_valid(&event), "{field}");
    }
    for field in ["previous", "data.deviceType", "data.ipAddress"] {
        let event = with(field, Value::Null);
        assert!(read(&event.to_string()).is_ok(), "{field}");
        assert!(schema.is_valid(&event), "{field}");
    }
}

#[test]
fn a_wrong_value_is_named() {
    let schema = schema();
    let wrong = [
        ("id", json!(17)),
        ("id", json!("01-1")),
        ("source", json!("acclaim/")),
        ("source", json!("other/shop")),
        ("source", json!("acclaim/a b")),
        ("partitionkey", json!(17)),
        ("sequence", json!("17")),
        ("sequence", json!("99999999999999999")),
        ("previous", json!("+795168800000000")),
        ("epoch", json!(-1)),
        ("epoch", json!(2_147_483_648_u64)),
        ("life", json!("0")),
        ("life", json!(2_147_483_648_u64)),
        ("turn", json!(2_147_483_648_u64)),
        ("data", json!([])),
        ("data.kind", json!(1)),
        ("data.userId", json!(-1)),
        ("data.userId", json!(1.5)),
        ("data.userId", json!(true)),
        ("data.userId", json!("")),
        ("data.userId", json!("a b")),
        ("data.userId", json!("a".repeat(65))),
        ("data.targetType", json!("post")),
        ("data.targetType", json!("A".repeat(33))),
        ("data.targetId", json!(123)),
        ("data.targetId", json!("\u{202e}")),
        ("data.active", json!(1)),
        ("data.rev", json!("1")),
        ("data.rev", json!(9_007_199_254_740_992_u64)),
        ("data.count", json!(-1)),
        ("data.count", json!(9_007_199_254_740_992_u64)),
        ("data.partition", json!(65_536)),
        ("data.deviceType", json!("d".repeat(65))),
        ("data.deviceType", json!(7)),
        ("data.ipAddress", json!("nowhere")),
    ];
    for (name, value) in wrong {
        let event = with(name, value.clone());
        let error = read(&event.to_string()).unwrap_err();
        let Unreadable::Wrong { field, given, why } = &error else {
            panic!("{name} = {value}: {error}");
        };
        assert_eq!(*field, name, "{error}");
        assert!(
            value.to_string().starts_with(&given[..given.len().min(60)]),
            "{error}"
        );
        assert!(!why.is_empty());
        assert!(
            !schema.is_valid(&event),
            "the schema takes {name} = {value}"
        );
    }
}

#[test]
fn the_largest_numbers_are_read() {
    let schema = schema();
    let largest = u64::from(MAX_JOURNAL_NUMBER);
    for field in ["epoch", "life", "turn", "data.count"] {
        let most = if field == "data.count" {
            MAX_COUNT
        } else {
            largest
        };
        let event = with(field, json!(most));
        assert!(read(&event.to_string()).is_ok(), "{field}");
        assert!(schema.is_valid(&event), "{field}");
    }
}

#[test]
fn what_is_said_twice_must_agree() {
    for (name, value) in [
        ("partitionkey", json!("18")),
        ("sequence", json!("1795168800000001")),
        ("data.partition", json!(18)),
        ("id", json!("1795168800000000-18")),
    ] {
        let error = read(&with(name, value).to_string()).unwrap_err();
        assert!(matches!(error, Unreadable::Disagrees { .. }), "{error}");
    }
    let error = read(&with("data.partition", json!(18)).to_string()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`data.partition` is 18, but by its `id` 1795168800000000-17 the event has 17"
    );
}

fn ids() -> impl Strategy<Value = Id> {
    prop_oneof![
        any::<u64>().prop_map(Id::Number),
        "[A-Za-z0-9._:-]{1,64}".prop_map(|text| Id::parse(&text).unwrap()),
    ]
}

fn origins() -> impl Strategy<Value = Option<Origin>> {
    let device = proptest::option::of("\\PC{0,16}");
    (device, proptest::option::of(any::<std::net::IpAddr>())).prop_map(|(device, ip_address)| {
        let device_type = device.map(CompactString::from);
        let says_something = device_type.is_some() || ip_address.is_some();
        says_something.then_some(Origin {
            device_type,
            ip_address,
        })
    })
}

prop_compose! {
    fn events()(
        store in "[A-Za-z0-9._:-]{1,64}",
        (seq, partition) in (0..=Rev::MAX.0, any::<u16>()),
        previous in proptest::option::of((0..=Rev::MAX.0).prop_map(Rev)),
        (epoch, life) in (0..=MAX_JOURNAL_NUMBER, 0..=MAX_JOURNAL_NUMBER),
        kind in prop_oneof!["likes", "follows", "claps-2"],
        user in ids(),
        target in ("[A-Z0-9_]{1,32}", ids()),
        (active, rev, count) in (any::<bool>(), 0..=Rev::MAX.0, 0..=MAX_COUNT),
        origin in origins(),
    ) -> Event {
        let target = Target { target_type: TargetType::parse(&target.0).unwrap(), id: target.1 };
        Event {
            store: store.into(), place: Place { seq: Rev(seq), partition }, previous, epoch, life,
            turn: (life % 2 == 1).then_some(epoch),
            numbers: (epoch % 2 == 1).then_some(Numbers { kind: partition, target_type: 7 }),
            kind: kind.into(), user, target, active, rev: Rev(rev), count, origin,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(event in events()) {
        let written = event.write();
        prop_assert!(written.len() * 10 < MAX_EVENT_BYTES, "{} bytes", written.len());
        prop_assert_eq!(Event::read(&written, &kinds()), Ok(event));
    }

    #[test]
    fn what_is_written_fits_the_schema(event in events()) {
        thread_local!(static SCHEMA: Validator = schema());
        let value: Value = serde_json::from_slice(&event.write()).unwrap();
        let refused = SCHEMA.with(|schema| refusals(schema, &value));
        prop_assert!(refused.is_empty(), "{refused:?}: {value}");
    }

    #[test]
    fn reading_never_panics(
        at in 0..LIKE.len(), byte: u8, cut in 0..LIKE.len(), noise: Vec<u8>
    ) {
        let mut flipped = LIKE.as_bytes().to_vec();
        flipped[at] = byte;
        for message in [&flipped[..], &LIKE.as_bytes()[..cut], &noise] {
            // An error is as good as an event here; a panic is neither.
            let _ = Event::read(message, &kinds());
        }
    }
}
