//! Reading an event.
//!
//! Unknown fields are passed over; a field that comes twice is refused, since readers differ in
//! which of the two they take. `time`, `subject`, `datacontenttype` and `dataschema` are for others:
//! they follow from the rest and are not looked at. What the event says twice for the sake of other
//! readers (its partition, its sequence) must agree with its id.

use std::borrow::Cow;
use std::net::IpAddr;

use acclaim_core::edge::MAX_DEVICE_BYTES;
use acclaim_core::port::Place;
use acclaim_core::{Id, Kinds, Origin, Rev, Target, TargetType};
use compact_str::CompactString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::barrier::BARRIER_TYPE;
use super::unreadable::shown;
use super::{
    Barrier, Event, MAX_COUNT, MAX_EVENT_BYTES, MAX_JOURNAL_NUMBER, Numbers, SEQUENCE_DIGITS,
    SOURCE_PREFIX, Stand, TYPE_PREFIX, Unreadable, VERSION,
};

/// The fields as they stand in the text. Each is judged by itself, so that an error can say which.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    specversion: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    partitionkey: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence: Option<&'a RawValue>,
    #[serde(borrow)]
    previous: Option<&'a RawValue>,
    #[serde(borrow)]
    epoch: Option<&'a RawValue>,
    #[serde(borrow)]
    life: Option<&'a RawValue>,
    #[serde(borrow)]
    turn: Option<&'a RawValue>,
    #[serde(borrow)]
    numbers: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    target_type: Option<&'a RawValue>,
    #[serde(borrow)]
    target_id: Option<&'a RawValue>,
    #[serde(borrow)]
    active: Option<&'a RawValue>,
    #[serde(borrow)]
    rev: Option<&'a RawValue>,
    #[serde(borrow)]
    count: Option<&'a RawValue>,
    #[serde(borrow)]
    partition: Option<&'a RawValue>,
    #[serde(borrow)]
    device_type: Option<&'a RawValue>,
    #[serde(borrow)]
    ip_address: Option<&'a RawValue>,
}

impl Event {
    /// Reads a message of the topic.
    ///
    /// # Errors
    /// [`Unreadable`] where it is no transition of this version and these kinds.
    pub fn read(message: &[u8], kinds: &Kinds) -> Result<Self, Unreadable> {
        if message.len() > MAX_EVENT_BYTES {
            let bytes = message.len();
            return Err(Unreadable::TooLong { bytes });
        }
        let envelope: Envelope<'_> =
            serde_json::from_slice(message).map_err(|error| Unreadable::Garbage {
                why: error.to_string(),
                begins: shown(&String::from_utf8_lossy(message)),
            })?;
        check_version(&envelope)?;
        let place = read_place(&envelope)?;
        let data = Field::required("data", envelope.data)?;
        let data: Data<'_> = serde_json::from_str(data.raw.get()).map_err(|error| {
            data.wrong(format!("which is not the object of a transition: {error}"))
        })?;
        let partition = Field::required("data.partition", data.partition)?;
        agree(
            &partition,
            place,
            partition.number(u64::from(u16::MAX))?,
            place.partition,
        )?;
        let previous = envelope.previous.map(|raw| Field::new("previous", raw));
        Ok(Self {
            store: read_store(&Field::required("source", envelope.source)?)?,
            place,
            previous: previous.map(|field| field.sequence()).transpose()?,
            epoch: read_journal_number(&Field::required("epoch", envelope.epoch)?)?,
            life: read_journal_number(&Field::required("life", envelope.life)?)?,
            turn: read_turn(&envelope)?,
            numbers: read_numbers(&envelope)?,
            kind: read_kind(&Field::required("data.kind", data.kind)?, kinds)?,
            user: read_user(&Field::required("data.userId", data.user_id)?)?,
            target: read_target(&data)?,
            active: Field::required("data.active", data.active)?.flag()?,
            rev: Rev(Field::required("data.rev", data.rev)?.number(Rev::MAX.0)?),
            count: Field::required("data.count", data.count)?.number(MAX_COUNT)?,
            origin: read_origin(&data)?,
        })
    }
}

/// A field that is there, and its name.
struct Field<'a> {
    name: &'static str,
    raw: &'a RawValue,
}

impl<'a> Field<'a> {
    fn new(name: &'static str, raw: &'a RawValue) -> Self {
        Self { name, raw }
    }

    fn required(name: &'static str, raw: Option<&'a RawValue>) -> Result<Self, Unreadable> {
        let raw = raw.ok_or(Unreadable::Missing { field: name })?;
        Ok(Self { name, raw })
    }

    fn given(&self) -> String {
        shown(self.raw.get())
    }

    fn wrong(&self, why: impl Into<String>) -> Unreadable {
        Unreadable::Wrong {
            field: self.name,
            given: self.given(),
            why: why.into(),
        }
    }

    fn text(&self) -> Result<Cow<'a, str>, Unreadable> {
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

        let text: Result<Text<'_>, _> = serde_json::from_str(self.raw.get());
        let text = text.map_err(|_| self.wrong("which is not a string"))?;
        Ok(text.0)
    }

    fn number(&self, max: u64) -> Result<u64, Unreadable> {
        let number: Option<u64> = serde_json::from_str(self.raw.get()).ok();
        number
            .filter(|number| *number <= max)
            .ok_or_else(|| self.wrong(format!("which is not a whole number from 0 to {max}")))
    }

    fn flag(&self) -> Result<bool, Unreadable> {
        let flag = serde_json::from_str(self.raw.get());
        flag.map_err(|_| self.wrong("which is neither true nor false"))
    }

    fn sequence(&self) -> Result<Rev, Unreadable> {
        let text = self.text()?;
        let digits = text.len() == SEQUENCE_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
        let seq = digits.then(|| text.parse().ok()).flatten().map(Rev);
        seq.filter(|seq| *seq <= Rev::MAX).ok_or_else(|| {
            let max = Rev::MAX;
            self.wrong(format!(
                "which is not {SEQUENCE_DIGITS} digits of at most {max}"
            ))
        })
    }
}

fn check_version(envelope: &Envelope<'_>) -> Result<(), Unreadable> {
    let spec = Field::required("specversion", envelope.specversion)?;
    if spec.text().as_deref() != Ok("1.0") {
        let given = spec.given();
        return Err(Unreadable::SpecVersion { given });
    }
    let event_type = Field::required("type", envelope.event_type)?;
    let text = event_type.text()?;
    match text.strip_prefix(TYPE_PREFIX) {
        Some(VERSION) => Ok(()),
        Some(version) => Err(Unreadable::Version {
            given: shown(version),
        }),
        None => Err(Unreadable::Type {
            given: event_type.given(),
        }),
    }
}

/// The place, on which everything that names it must agree.
fn read_place(envelope: &Envelope<'_>) -> Result<Place, Unreadable> {
    let id = Field::required("id", envelope.id)?;
    let place: Place = match id.text()?.parse() {
        Ok(place) => place,
        Err(_) => {
            let why = "which is no place in a journal: a number, or two joined by a dash";
            return Err(id.wrong(why));
        }
    };
    let sequence = Field::required("sequence", envelope.sequence)?;
    agree(&sequence, place, sequence.sequence()?.0, place.seq.0)?;
    let key = Field::required("partitionkey", envelope.partitionkey)?;
    agree(&key, place, key.text()?, place.partition.to_string())?;
    Ok(place)
}

fn agree<G, E>(field: &Field<'_>, place: Place, given: G, expected: E) -> Result<(), Unreadable>
where
    G: PartialEq<G> + From<E> + ToString,
{
    let expected = G::from(expected);
    if given == expected {
        return Ok(());
    }
    Err(Unreadable::Disagrees {
        field: field.name,
        given: field.given(),
        id: place.to_string(),
        expected: expected.to_string(),
    })
}

fn read_store(source: &Field<'_>) -> Result<CompactString, Unreadable> {
    let text = source.text()?;
    let store = text.strip_prefix(SOURCE_PREFIX);
    // A store's name has the grammar of an id, so that it needs no escaping in a URI.
    match store.filter(|store| Id::parse(store).is_ok()) {
        Some(store) => Ok(store.into()),
        None => Err(source.wrong(format!(
            "which is not {SOURCE_PREFIX} and the name of a store"
        ))),
    }
}

fn read_journal_number(field: &Field<'_>) -> Result<u32, Unreadable> {
    let number = field.number(u64::from(MAX_JOURNAL_NUMBER))?;
    // It was checked against a maximum that fits.
    Ok(u32::try_from(number).unwrap_or(MAX_JOURNAL_NUMBER))
}

fn read_turn(envelope: &Envelope<'_>) -> Result<Option<u32>, Unreadable> {
    let turn = envelope.turn.map(|raw| Field::new("turn", raw));
    turn.map(|field| read_journal_number(&field)).transpose()
}

fn read_numbers(envelope: &Envelope<'_>) -> Result<Option<Numbers>, Unreadable> {
    let Some(raw) = envelope.numbers else {
        return Ok(None);
    };
    let field = Field::new("numbers", raw);
    match Numbers::parse(&field.text()?) {
        Some(numbers) => Ok(Some(numbers)),
        None => Err(field.wrong("which is not two numbers up to 65535 with a dot between")),
    }
}

impl Stand {
    /// Reads where a message stands in which journal, also where the rest of it cannot be read.
    /// `None` where it does not say.
    #[must_use]
    pub fn read(message: &[u8]) -> Option<Self> {
        let envelope: Envelope<'_> = serde_json::from_slice(message).ok()?;
        let required = |name, raw| Field::required(name, raw).ok();
        let previous = envelope.previous.map(|raw| Field::new("previous", raw));
        Some(Self {
            store: read_store(&required("source", envelope.source)?).ok()?,
            place: read_place(&envelope).ok()?,
            previous: previous.map(|field| field.sequence()).transpose().ok()?,
            epoch: read_journal_number(&required("epoch", envelope.epoch)?).ok()?,
            life: read_journal_number(&required("life", envelope.life)?).ok()?,
            turn: read_turn(&envelope).ok()?,
        })
    }
}

impl Barrier {
    /// Reads a message as a barrier, if it is one.
    #[must_use]
    pub fn read(message: &[u8]) -> Option<Self> {
        let envelope: Envelope<'_> = serde_json::from_slice(message).ok()?;
        let required = |name, raw| Field::required(name, raw).ok();
        let event_type = required("type", envelope.event_type)?;
        if event_type.text().ok()? != BARRIER_TYPE {
            return None;
        }
        let partition = required("partitionkey", envelope.partitionkey)?;
        Some(Self {
            store: read_store(&required("source", envelope.source)?).ok()?,
            partition: partition.text().ok()?.parse().ok()?,
            turn: read_turn(&envelope).ok()??,
        })
    }
}

fn read_kind(field: &Field<'_>, kinds: &Kinds) -> Result<CompactString, Unreadable> {
    let text = field.text()?;
    if kinds.find(&text).is_some() {
        return Ok(CompactString::from(text));
    }
    let known: Vec<&str> = kinds.iter().map(|(_, kind)| kind.name.as_str()).collect();
    Err(Unreadable::UnknownKind {
        given: shown(&text),
        known: known.join(", "),
    })
}

/// A number where every reader keeps it exactly, else a string.
fn read_user(field: &Field<'_>) -> Result<Id, Unreadable> {
    if let Ok(number) = field.number(u64::MAX) {
        return Ok(Id::Number(number));
    }
    let text = field
        .text()
        .map_err(|_| field.wrong("which is neither a whole number nor a string"))?;
    Id::parse(&text).map_err(|error| field.wrong(format!("which {error}")))
}

fn read_target(data: &Data<'_>) -> Result<Target, Unreadable> {
    let field = Field::required("data.targetType", data.target_type)?;
    let target_type =
        TargetType::parse(&field.text()?).map_err(|error| field.wrong(format!("which {error}")))?;
    let field = Field::required("data.targetId", data.target_id)?;
    let id = Id::parse(&field.text()?).map_err(|error| field.wrong(format!("which {error}")))?;
    Ok(Target { target_type, id })
}

fn read_origin(data: &Data<'_>) -> Result<Option<Origin>, Unreadable> {
    let device = data
        .device_type
        .map(|raw| Field::new("data.deviceType", raw));
    let device_type = device.map(|field| read_device(&field)).transpose()?;
    let address = data.ip_address.map(|raw| Field::new("data.ipAddress", raw));
    let ip_address = address.map(|field| read_address(&field)).transpose()?;
    let origin = Origin {
        device_type,
        ip_address,
    };
    let says_something = origin.device_type.is_some() || origin.ip_address.is_some();
    Ok(says_something.then_some(origin))
}

fn read_device(field: &Field<'_>) -> Result<CompactString, Unreadable> {
    let text = field.text()?;
    if text.len() > MAX_DEVICE_BYTES {
        return Err(field.wrong(format!("which has more than {MAX_DEVICE_BYTES} bytes")));
    }
    Ok(CompactString::from(text))
}

fn read_address(field: &Field<'_>) -> Result<IpAddr, Unreadable> {
    let address = field.text()?.parse();
    address.map_err(|_| field.wrong("which is no IP address"))
}
