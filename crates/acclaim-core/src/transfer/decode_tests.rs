use proptest::prelude::*;

use super::*;
use crate::edge::Action;
use crate::id::Id;
use crate::kind::{Kind, KindId};
use crate::port::ExportedEdge;
use crate::target::{Target, TargetType};
use crate::transfer::{RejectionCode, Writer};
use crate::{EdgeKey, limits};

const NOW: Rev = Rev(1_800_000_000_000_000);

fn kinds() -> Kinds {
    Kinds::new([Kind::open("claps")]).unwrap()
}

fn decode_in(format: Format, pieces: &[&[u8]], defaults: Defaults) -> Result<Decoded, FormatError> {
    let mut decoder = Decoder::new(format, &kinds(), defaults);
    let mut out = Decoded::default();
    for piece in pieces {
        decoder.decode(piece, NOW, &mut out)?;
    }
    decoder.finish(NOW, &mut out)?;
    Ok(out)
}

fn decode(format: Format, text: &[u8]) -> Decoded {
    decode_in(format, &[text], Defaults::default()).unwrap()
}

fn likes_of_posts() -> Defaults {
    Defaults {
        kind: Some(KindId(0)),
        target_type: TargetType::parse("POST").ok(),
    }
}

fn edge(kind: u8, user: &str, target_type: &str, id: &str) -> EdgeKey {
    EdgeKey {
        kind: KindId(kind),
        user: Id::parse(user).unwrap(),
        target: Target {
            target_type: TargetType::parse(target_type).unwrap(),
            id: Id::parse(id).unwrap(),
        },
    }
}

fn edges(decoded: &Decoded) -> Vec<EdgeKey> {
    assert!(decoded.ops.iter().all(|op| op.action == Action::Set));
    decoded.ops.iter().map(|op| op.edge.clone()).collect()
}

/// Line number and code of every rejection.
fn rejected(decoded: &Decoded) -> Vec<(u64, RejectionCode)> {
    decoded
        .rejections
        .iter()
        .map(|r| (r.line, r.code))
        .collect()
}

#[test]
fn ndjson_takes_ids_as_numbers_and_strings() {
    let text = br#"{"kind":"likes","userId":1,"targetType":"POST","targetId":2}

{"targetId":"a-b","targetType":"POST","userId":"01","kind":"likes","at":"2026-11-20T10:00:00.000001Z"}
{"kind":"follows","userId":"1","targetType":"\u0055SER","targetId":18446744073709551615}"#;
    let decoded = decode(Format::Ndjson, text);
    assert_eq!(decoded.rejections, []);
    let expected = [
        edge(0, "1", "POST", "2"),
        edge(0, "01", "POST", "a-b"),
        edge(1, "1", "USER", "18446744073709551615"),
    ];
    assert_eq!(edges(&decoded), expected);
    let at = Rev::parse_time("2026-11-20T10:00:00.000001Z").ok();
    assert_eq!(decoded.ops[1].at, at);
    assert_eq!(decoded.ops[0].at, None);
}

#[test]
fn bad_ndjson_lines_are_rejected_one_by_one() {
    let good = r#"{"kind":"likes","userId":1,"targetType":"POST","targetId":2}"#;
    for (line, code, word) in [
        (r#"{"kind":"likes""#, RejectionCode::BadRequest, "EOF"),
        (
            r#"["likes",1,"POST",2,null]"#,
            RejectionCode::BadRequest,
            "object",
        ),
        (
            r#"{"kind":"boos","userId":1,"targetType":"POST","targetId":2}"#,
            RejectionCode::UnknownKind,
            "likes, follows, claps",
        ),
        (
            r#"{"kind":"likes","userId":1,"targetType":"POST","targetId":2,"extra":1}"#,
            RejectionCode::BadRequest,
            "extra",
        ),
        (
            r#"{"kind":"likes","userId":1,"userId":1,"targetType":"POST","targetId":2}"#,
            RejectionCode::BadRequest,
            "duplicate",
        ),
        (
            r#"{"kind":"likes","userId":1,"targetType":"POST","targetId":2} x"#,
            RejectionCode::BadRequest,
            "trailing",
        ),
        (
            r#"{"kind":"likes","userId":-1,"targetType":"POST","targetId":2}"#,
            RejectionCode::BadRequest,
            "id",
        ),
        (
            r#"{"kind":"likes","userId":1.5,"targetType":"POST","targetId":2}"#,
            RejectionCode::BadRequest,
            "id",
        ),
        (
            r#"{"kind":"likes","userId":18446744073709551616,"targetType":"POST","targetId":2}"#,
            RejectionCode::BadRequest,
            "id",
        ),
        (
            r#"{"kind":"likes","userId":true,"targetType":"POST","targetId":2}"#,
            RejectionCode::BadRequest,
            "id",
        ),
        (
            r#"{"kind":"likes","userId":null,"targetType":"POST","targetId":2}"#,
            RejectionCode::BadRequest,
            "userId",
        ),
        (
            r#"{"kind":"likes","userId":"","targetType":"POST","targetId":2}"#,
            RejectionCode::BadRequest,
            "userId",
        ),
        (
            r#"{"kind":"likes","userId":1,"targetType":"post","targetId":2}"#,
            RejectionCode::BadRequest,
            "targetType",
        ),
        (
            r#"{"kind":"likes","userId":1,"targetType":"POST"}"#,
            RejectionCode::BadRequest,
            "targetId",
        ),
        (
            r#"{"userId":1,"targetType":"POST","targetId":2}"#,
            RejectionCode::BadRequest,
            "kind",
        ),
        (
            r#"{"kind":"follows","userId":1,"targetType":"POST","targetId":2}"#,
            RejectionCode::TargetTypeNotAllowed,
            "POST",
        ),
        (
            r#"{"kind":"follows","userId":1,"targetType":"USER","targetId":"1"}"#,
            RejectionCode::SelfNotAllowed,
            "themself",
        ),
        (
            r#"{"kind":"likes","userId":1,"targetType":"POST","targetId":2,"at":"today"}"#,
            RejectionCode::BadRequest,
            "RFC 3339",
        ),
        (
            "{\"kind\":\"likes\",\"userId\":\"\u{e4}\",\"targetType\":\"POST\",\"targetId\":2}",
            RejectionCode::BadRequest,
            "userId",
        ),
    ] {
        let decoded = decode(Format::Ndjson, format!("{good}\n{line}\n{good}").as_bytes());
        assert_eq!(decoded.ops.len(), 2, "{line}");
        assert_eq!(rejected(&decoded), [(2, code)], "{line}");
        let detail = &decoded.rejections[0].detail;
        let word = if word == "themself" {
            "own target"
        } else {
            word
        };
        assert!(detail.contains(word), "{line}: {detail}");
    }
    let invalid =
        b"{\"kind\":\"likes\",\"userId\":\"\xff\",\"targetType\":\"POST\",\"targetId\":2}";
    assert_eq!(
        rejected(&decode(Format::Ndjson, invalid)),
        [(1, RejectionCode::BadRequest)]
    );
}

#[test]
fn a_line_may_be_as_long_as_the_limit() {
    let line = br#"{"kind":"likes","userId":1,"targetType":"POST","targetId":2}"#;
    let padded = |len: usize| {
        let mut padded = line.to_vec();
        padded.resize(len, b' ');
        padded.push(b'\n');
        padded.extend_from_slice(line);
        padded
    };
    let fits = decode(Format::Ndjson, &padded(MAX_LINE_BYTES));
    assert_eq!((fits.ops.len(), rejected(&fits).len()), (2, 0));
    let over = padded(MAX_LINE_BYTES + 1);
    for pieces in [vec![&over[..]], over.chunks(1000).collect()] {
        let over = decode_in(Format::Ndjson, &pieces, Defaults::default()).unwrap();
        assert_eq!(over.ops.len(), 1);
        assert_eq!(rejected(&over), [(1, RejectionCode::BadRequest)]);
    }
}

#[test]
fn times_ahead_of_now_are_rejected() {
    let line = |at: u64| {
        let at = Rev(at).time();
        format!(r#"{{"kind":"likes","userId":1,"targetType":"POST","targetId":2,"at":"{at}"}}"#)
    };
    let latest = NOW.0 + limits::MAX_IMPORT_AHEAD_MICROS;
    assert_eq!(decode(Format::Ndjson, line(latest).as_bytes()).ops.len(), 1);
    let ahead = decode(Format::Ndjson, line(latest + 1).as_bytes());
    assert_eq!(rejected(&ahead), [(1, RejectionCode::BadRequest)]);
}

#[test]
fn csv_takes_columns_in_any_order() {
    let text = b"\xef\xbb\xbftargetId,at,userId,kind,targetType\r\n\
        2,2026-11-20T10:00:00Z,1,likes,POST\r\n\
        \"a:b\",,\"01\",claps,POST\r\n\r\n9,,8,\"likes\",POST";
    let decoded = decode(Format::Csv, text);
    assert_eq!(decoded.rejections, []);
    let expected = [
        edge(0, "1", "POST", "2"),
        edge(2, "01", "POST", "a:b"),
        edge(0, "8", "POST", "9"),
    ];
    assert_eq!(edges(&decoded), expected);
    assert!(decoded.ops[0].at.is_some() && decoded.ops[1].at.is_none());
}

#[test]
fn csv_defaults_fill_what_is_missing() {
    let decoded = decode_in(
        Format::Csv,
        &[b"userId,targetId,kind\n1,2,\n3,4,claps\n"],
        likes_of_posts(),
    );
    let expected = [edge(0, "1", "POST", "2"), edge(2, "3", "POST", "4")];
    assert_eq!(edges(&decoded.unwrap()), expected);
}

#[test]
fn bad_csv_records_are_rejected_by_the_line_they_begin_on() {
    let text =
        b"userId,targetId\n\n1,2\n1\n1,2,3\n1,2,3,4,5,6,7,8,9\n\"a\nb\",2\n1,\"\"\n1,\xff\n5,6\n";
    let decoded = decode_in(Format::Csv, &[text], likes_of_posts()).unwrap();
    let lines: Vec<u64> = decoded.rejections.iter().map(|r| r.line).collect();
    assert_eq!(lines, [4, 5, 6, 7, 9, 10]);
    let expected = [edge(0, "1", "POST", "2"), edge(0, "5", "POST", "6")];
    assert_eq!(edges(&decoded), expected);
}

#[test]
fn a_csv_record_may_be_as_long_as_the_limit() {
    let record = |len: usize| format!("userId,targetId\n{},2\n1,2\n", "a".repeat(len - 1));
    for (len, word) in [
        (MAX_LINE_BYTES - 1, "has 65534 bytes"),
        (MAX_LINE_BYTES + 1, "limit"),
    ] {
        let text = record(len);
        for pieces in [vec![text.as_bytes()], text.as_bytes().chunks(999).collect()] {
            let decoded = decode_in(Format::Csv, &pieces, likes_of_posts()).unwrap();
            assert_eq!(decoded.ops.len(), 1, "{len}");
            assert_eq!(rejected(&decoded), [(2, RejectionCode::BadRequest)]);
            assert!(decoded.rejections[0].detail.contains(word), "{decoded:?}");
        }
    }
}

#[test]
fn unusable_csv_headers_refuse_the_whole() {
    let refused =
        |text: &str| decode_in(Format::Csv, &[text.as_bytes()], Defaults::default()).unwrap_err();
    let columns = "kind,userId,targetType,targetId";
    assert_eq!(
        refused(&format!("{columns},color\n")),
        FormatError::UnknownColumn("color".to_owned())
    );
    assert_eq!(
        refused(&format!("{columns},kind")),
        FormatError::RepeatedColumn("kind")
    );
    assert_eq!(
        refused("userId,targetType,targetId\n"),
        FormatError::MissingColumn("kind")
    );
    assert_eq!(
        refused("kind,userId,targetId\n"),
        FormatError::MissingColumn("targetType")
    );
    assert_eq!(
        refused("kind,targetType,targetId\n"),
        FormatError::MissingColumn("userId")
    );
    assert_eq!(refused("a,a,a,a,a,a,a,a\n1\n"), FormatError::HeaderTooLong);
    assert_eq!(decode(Format::Csv, b""), Decoded::default());
}

fn any_edge() -> impl Strategy<Value = ExportedEdge> {
    let id = prop_oneof![
        any::<u64>().prop_map(Id::Number),
        "[A-Za-z0-9._:-]{1,64}".prop_map(|text| Id::parse(&text).unwrap()),
    ];
    let target_type = "[A-Z0-9_]{1,32}".prop_map(|text| TargetType::parse(&text).unwrap());
    let kind = prop_oneof![Just(KindId(0)), Just(KindId(2))];
    (kind, id.clone(), target_type, id, 1..=NOW.0).prop_map(|(kind, user, target_type, id, at)| {
        let target = Target { target_type, id };
        let edge = EdgeKey { kind, user, target };
        ExportedEdge { edge, at: Rev(at) }
    })
}

fn any_format() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Ndjson), Just(Format::Csv)]
}

/// Lines good and bad in a format, some of them over several lines of text.
fn any_text() -> impl Strategy<Value = (Format, String)> {
    let line = prop_oneof![
        Just("1,2".to_owned()),
        Just("\"7\",\"8\"\r".to_owned()),
        Just(r#"{"userId":1,"targetId":"\u0041"}"#.to_owned()),
        "[a-c,\"\r\n{}:é]{0,12}",
    ];
    let lines = prop::collection::vec(line, 0..12);
    (lines, any::<bool>(), any_format()).prop_map(|(lines, mark, format)| {
        let mark = if mark { "\u{feff}" } else { "" };
        let header = match format {
            Format::Ndjson => "",
            Format::Csv => "userId,targetId\n",
        };
        (format, [mark, header, &lines.join("\n")].concat())
    })
}

/// Cuts `bytes` at places derived from `cuts`.
fn cut<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in cuts {
        let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        edges in prop::collection::vec(any_edge(), 0..20),
        format in any_format(),
    ) {
        let kinds = kinds();
        let writer = Writer::new(format, &kinds);
        let mut text = writer.header().to_owned();
        edges.iter().for_each(|edge| writer.write(edge, &mut text));
        let decoded = decode(format, text.as_bytes());
        prop_assert_eq!(decoded.rejections, []);
        let read: Vec<ExportedEdge> = decoded.ops.into_iter()
            .map(|op| ExportedEdge { edge: op.edge, at: op.at.unwrap() })
            .collect();
        prop_assert_eq!(read, edges);
    }

    #[test]
    fn how_a_stream_is_cut_never_matters(
        (format, text) in any_text(),
        cuts in prop::collection::vec(0_usize..9, 0..40),
    ) {
        let whole = decode_in(format, &[text.as_bytes()], likes_of_posts());
        let pieces = decode_in(format, &cut(text.as_bytes(), &cuts), likes_of_posts());
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn another_decoder_goes_on_at_any_place(
        (format, text) in any_text(),
        size in 1_usize..90,
    ) {
        let text = text.as_bytes();
        let whole = decode_in(format, &[text], likes_of_posts());
        let mut out = Decoded::default();
        let mut place = Place::default();
        let mut given_up = None;
        while place.bytes < text.len() as u64 && given_up.is_none() {
            let mut decoder = Decoder::new(format, &kinds(), likes_of_posts());
            let header = &text[..place.header_bytes as usize];
            decoder.decode(header, NOW, &mut Decoded::default()).unwrap();
            decoder.go_on_at(place);
            prop_assert_eq!(decoder.place(), place);
            let before = place;
            for piece in text[place.bytes as usize..].chunks(size) {
                given_up = decoder.decode(piece, NOW, &mut out).err();
                place = decoder.place();
                if place != before || given_up.is_some() {
                    break;
                }
            }
            if place == before && given_up.is_none() {
                given_up = decoder.finish(NOW, &mut out).err();
                break;
            }
        }
        match given_up {
            Some(error) => prop_assert_eq!(whole, Err(error)),
            None => prop_assert_eq!(whole, Ok(out)),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), format in any_format()) {
        let _ = decode_in(format, &[&bytes], likes_of_posts());
    }
}
