//! Bodies and queries as they are sent, and how they become the words of the core.

use std::fmt;
use std::net::IpAddr;

use acclaim_core::edge::MAX_DEVICE_BYTES;
use acclaim_core::notify::desk::WebhookForm;
use acclaim_core::notify::ownership::Ownership;
use acclaim_core::port::Place;
use acclaim_core::service::Asked;
use acclaim_core::{Action, EdgeKey, Id, KindId, Op, Origin, Target, TargetType};
use compact_str::CompactString;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::object::Object;
use super::{FromQuery, Params};
use crate::problem::Problem;

/// An id in a body: a JSON number that is a `u64`, or a string of the id grammar.
pub(crate) struct WireId(Id);

impl<'de> Deserialize<'de> for WireId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;

        impl Visitor<'_> for IdVisitor {
            type Value = WireId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id: a whole number from 0 to 18446744073709551615 or a string")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<WireId, E> {
                Ok(WireId(Id::Number(number)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<WireId, E> {
                let id = Id::parse(text);
                id.map(WireId)
                    .map_err(|error| E::custom(format_args!("the id {error}")))
            }
        }

        deserializer.deserialize_any(IdVisitor)
    }
}

/// A target type in a body.
pub(crate) struct WireType(TargetType);

impl<'de> Deserialize<'de> for WireType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TypeVisitor;

        impl Visitor<'_> for TypeVisitor {
            type Value = WireType;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a target type: a string of A-Z 0-9 _")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<WireType, E> {
                let read = TargetType::parse(text);
                read.map(WireType)
                    .map_err(|error| E::custom(format_args!("the target type {error}")))
            }
        }

        deserializer.deserialize_str(TypeVisitor)
    }
}

/// What the client calls itself: at most [`MAX_DEVICE_BYTES`] of printable text.
pub(crate) struct WireDevice(CompactString);

impl<'de> Deserialize<'de> for WireDevice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        if text.is_empty() || text.len() > MAX_DEVICE_BYTES {
            let length = text.len();
            return Err(D::Error::custom(format_args!(
                "the device type has {length} bytes; it has 1 to {MAX_DEVICE_BYTES}"
            )));
        }
        match text.chars().find(|c| !is_printable(*c)) {
            Some(c) => Err(D::Error::custom(format_args!(
                "the device type has the character {c:?}, which cannot be printed"
            ))),
            None => Ok(Self(text)),
        }
    }
}

/// Not a control character, and not one that changes the direction or the look of other text.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// An IPv4 or IPv6 address.
pub(crate) struct WireAddress(IpAddr);

impl<'de> Deserialize<'de> for WireAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        text.parse()
            .map(Self)
            .map_err(|_| D::Error::custom(format_args!("{text:?} is not an IP address")))
    }
}

/// An id as it is documented.
#[derive(ToSchema, Serialize)]
#[serde(untagged)]
#[schema(as = UserId, example = 42)]
#[allow(
    dead_code,
    reason = "it stands in the OpenAPI document for ids, which have their own code"
)]
pub(crate) enum UserIdSchema {
    /// A number up to 2^53 − 1.
    Number(u64),
    /// Anything else: 1–64 of `A-Z a-z 0-9 . _ : -`.
    Text(String),
}

/// One write.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Edge)]
pub(crate) struct EdgeForm {
    /// Who acts.
    #[schema(value_type = UserIdSchema)]
    user_id: WireId,
    /// What is acted on: its type.
    #[schema(value_type = String, min_length = 1, max_length = 32, pattern = "^[A-Z0-9_]+$", example = "POST")]
    target_type: WireType,
    /// What is acted on: its id.
    #[schema(value_type = UserIdSchema)]
    target_id: WireId,
    /// What the client calls itself, printable.
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 64)]
    #[serde(default, deserialize_with = "present")]
    device_type: Option<WireDevice>,
    /// The address that the user acted from.
    #[schema(value_type = Option<String>, nullable = false, example = "203.0.113.7")]
    #[serde(default, deserialize_with = "present")]
    ip_address: Option<WireAddress>,
    /// Whose the target is; they are told of it. Of a `USER` target, that user.
    #[schema(value_type = Option<UserIdSchema>, nullable = false)]
    #[serde(default, deserialize_with = "present")]
    owner_id: Option<WireId>,
}

/// Reads an optional field that, where it is there, must not be `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A write, and whose its target is where it says so.
pub(crate) struct OwnedOp {
    /// The write.
    pub(crate) op: Op,
    /// Whose the target is.
    pub(crate) owner: Option<Id>,
}

impl EdgeForm {
    pub(crate) fn op(self, kind: KindId, action: Action) -> OwnedOp {
        let owner = self.owner_id.map(|owner| owner.0);
        let origin = (self.device_type.is_some() || self.ip_address.is_some()).then(|| {
            Box::new(Origin {
                device_type: self.device_type.map(|device| device.0),
                ip_address: self.ip_address.map(|address| address.0),
            })
        });
        let edge = EdgeKey {
            kind,
            user: self.user_id.0,
            target: Target {
                target_type: self.target_type.0,
                id: self.target_id.0,
            },
        };
        let op = Op {
            origin,
            ..Op::new(action, edge)
        };
        OwnedOp { op, owner }
    }
}

/// Whose a target is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Ownership)]
pub(crate) struct OwnershipForm {
    /// Its owner.
    #[schema(value_type = UserIdSchema)]
    owner_id: WireId,
    /// What it is called, printable.
    #[schema(nullable = false, min_length = 1, max_length = 512)]
    #[serde(default, deserialize_with = "present")]
    title: Option<String>,
    /// Where it is seen: an address of `http` or `https`, or a path.
    #[schema(nullable = false, max_length = 2048, example = "/posts/123")]
    #[serde(default, deserialize_with = "present")]
    url: Option<String>,
}

impl From<OwnershipForm> for Ownership {
    fn from(form: OwnershipForm) -> Self {
        Self {
            owner: form.owner_id.0,
            title: form.title,
            url: form.url,
        }
    }
}

/// The id of a notification in a body: as it came, or as a number.
pub(crate) struct WirePlace(Place);

impl<'de> Deserialize<'de> for WirePlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlaceVisitor;

        impl Visitor<'_> for PlaceVisitor {
            type Value = WirePlace;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of a notification, as it came")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<WirePlace, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<WirePlace, E> {
                text.parse().map(WirePlace).map_err(|_| {
                    let shown: String = text.chars().take(40).collect();
                    E::custom(format_args!(
                        "{shown:?} is not the id of a notification; send one as it came"
                    ))
                })
            }
        }

        deserializer.deserialize_any(PlaceVisitor)
    }
}

/// Up to where a user has read.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ReadUpTo)]
pub(crate) struct ReadForm {
    /// Whose notifications.
    #[schema(value_type = UserIdSchema)]
    user_id: WireId,
    /// The id of the newest one that was read. It and all older ones are read then.
    #[schema(value_type = String, example = "1795132800000000")]
    up_to: WirePlace,
}

impl ReadForm {
    pub(crate) fn user_and_place(self) -> (Id, Place) {
        (self.user_id.0, self.up_to.0)
    }
}

/// Where notifications are delivered, and which.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Webhook)]
pub(crate) struct WebhookBody {
    /// Where to: an address of `http` or `https`, public unless the configuration allows others.
    #[schema(max_length = 2048, example = "https://example.org/hooks/acclaim")]
    url: String,
    /// Of these kinds only.
    #[schema(value_type = Option<Vec<String>>, nullable = false, min_items = 1, max_items = 64)]
    #[serde(default, deserialize_with = "present")]
    kinds: Option<Vec<CompactString>>,
    /// About targets of these types only.
    #[schema(value_type = Option<Vec<String>>, nullable = false, min_items = 1, max_items = 64)]
    #[serde(default, deserialize_with = "present")]
    target_types: Option<Vec<WireType>>,
}

impl From<WebhookBody> for WebhookForm {
    fn from(form: WebhookBody) -> Self {
        let types = form.target_types;
        Self {
            url: form.url,
            kinds: form.kinds,
            target_types: types.map(|types| types.into_iter().map(|name| name.0).collect()),
        }
    }
}

/// What to do in a batch.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Action)]
pub(crate) enum WireAction {
    /// Be active.
    Set,
    /// Be inactive.
    Unset,
    /// Be what it was not.
    Toggle,
}

/// One write of a batch.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = BatchOp)]
pub(crate) struct OpForm {
    op: WireAction,
    /// Who acts.
    #[schema(value_type = UserIdSchema)]
    user_id: WireId,
    /// What is acted on: its type.
    #[schema(value_type = String, min_length = 1, max_length = 32, pattern = "^[A-Z0-9_]+$", example = "POST")]
    target_type: WireType,
    /// What is acted on: its id.
    #[schema(value_type = UserIdSchema)]
    target_id: WireId,
    /// What the client calls itself, printable.
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 64)]
    #[serde(default, deserialize_with = "present")]
    device_type: Option<WireDevice>,
    /// The address that the user acted from.
    #[schema(value_type = Option<String>, nullable = false, example = "203.0.113.7")]
    #[serde(default, deserialize_with = "present")]
    ip_address: Option<WireAddress>,
    /// Whose the target is; they are told of it. Of a `USER` target, that user.
    #[schema(value_type = Option<UserIdSchema>, nullable = false)]
    #[serde(default, deserialize_with = "present")]
    owner_id: Option<WireId>,
}

impl OpForm {
    pub(crate) fn op(self, kind: KindId) -> OwnedOp {
        let action = match self.op {
            WireAction::Set => Action::Set,
            WireAction::Unset => Action::Unset,
            WireAction::Toggle => Action::Toggle,
        };
        let edge = EdgeForm {
            user_id: self.user_id,
            target_type: self.target_type,
            target_id: self.target_id,
            device_type: self.device_type,
            ip_address: self.ip_address,
            owner_id: self.owner_id,
        };
        edge.op(kind, action)
    }
}

/// A batch of writes, whose ops are read one by one so that a bad one fails alone.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Batch)]
pub(crate) struct BatchForm<'a> {
    /// 1–1,000 of them.
    #[serde(borrow)]
    #[schema(value_type = Vec<OpForm>, min_items = 1, max_items = 1000)]
    pub(crate) ops: Vec<&'a RawValue>,
}

/// A target in a body.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Target)]
pub(crate) struct TargetForm {
    /// Its type.
    #[schema(value_type = String, example = "POST")]
    target_type: WireType,
    /// Its id.
    #[schema(value_type = UserIdSchema)]
    target_id: WireId,
}

impl From<TargetForm> for Target {
    fn from(form: TargetForm) -> Self {
        Self {
            target_type: form.target_type.0,
            id: form.target_id.0,
        }
    }
}

/// Targets to count.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Targets)]
pub(crate) struct TargetsForm {
    /// 1–500 of them.
    #[schema(value_type = Vec<TargetForm>, min_items = 1, max_items = 500)]
    targets: Vec<Object<TargetForm>>,
}

impl TargetsForm {
    pub(crate) fn targets(self) -> Vec<Target> {
        let targets = self.targets.into_iter();
        targets.map(|Object(form)| Target::from(form)).collect()
    }
}

/// A user and targets.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = UserAndTargets)]
pub(crate) struct StatusesForm {
    /// Who may have done it.
    #[schema(value_type = UserIdSchema)]
    user_id: WireId,
    /// 1–500 of them.
    #[schema(value_type = Vec<TargetForm>, min_items = 1, max_items = 500)]
    targets: Vec<Object<TargetForm>>,
}

impl StatusesForm {
    pub(crate) fn user_and_targets(self) -> (Id, Vec<Target>) {
        let targets = self.targets.into_iter();
        let targets = targets.map(|Object(form)| Target::from(form));
        (self.user_id.0, targets.collect())
    }
}

/// A user and others.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = UserAndOthers)]
pub(crate) struct OthersForm {
    /// The one.
    #[schema(value_type = UserIdSchema)]
    user_id: WireId,
    /// The others, 1–500 of them.
    #[schema(value_type = Vec<UserIdSchema>, min_items = 1, max_items = 500)]
    others: Vec<WireId>,
}

impl OthersForm {
    pub(crate) fn user_and_others(self) -> (Id, Vec<Id>) {
        let others = self.others.into_iter().map(|id| id.0);
        (self.user_id.0, others.collect())
    }
}

/// What every read accepts and no list of parameters repeats.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "no cache of the embedded engine can be stale, so nothing reads it"
)]
pub(crate) struct FreshParam {
    /// Bypasses caches in the process. The embedded engine has none that could be stale.
    fresh: Option<bool>,
}

/// A target in a query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TargetQuery {
    /// The target's type and id.
    #[param(rename = "targetType", value_type = String, example = "POST")]
    target_type: TargetType,
    /// The target's id.
    #[param(rename = "targetId", value_type = String, example = "123")]
    target_id: Id,
}

impl FromQuery for TargetQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            target_type: params.target_type()?,
            target_id: params.id("targetId")?,
        })
    }
}

impl TargetQuery {
    pub(crate) fn target(self) -> Target {
        Target {
            target_type: self.target_type,
            id: self.target_id,
        }
    }
}

/// An edge in a query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EdgeQuery {
    /// Who acts.
    #[param(rename = "userId", value_type = String, example = "42")]
    pub(crate) user_id: Id,
    /// The target's type.
    #[param(rename = "targetType", value_type = String, example = "POST")]
    pub(crate) target_type: TargetType,
    /// The target's id.
    #[param(rename = "targetId", value_type = String, example = "123")]
    pub(crate) target_id: Id,
}

impl FromQuery for EdgeQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            user_id: params.id("userId")?,
            target_type: params.target_type()?,
            target_id: params.id("targetId")?,
        })
    }
}

impl EdgeQuery {
    pub(crate) fn edge(self, kind: KindId) -> EdgeKey {
        EdgeKey {
            kind,
            user: self.user_id,
            target: Target {
                target_type: self.target_type,
                id: self.target_id,
            },
        }
    }
}

/// Which part of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Entries a page.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100, default = 20)]
    size: Option<u64>,
    /// The page, from 0, within the first 1,000 entries. Excludes `cursor`.
    #[param(value_type = Option<u64>)]
    page: Option<u64>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<String>,
}

impl FromQuery for ListQuery {
    fn take(params: &mut Params<'_>) -> Result<Self, Problem> {
        Ok(Self {
            size: params.number("size")?,
            page: params.number("page")?,
            cursor: params.text("cursor")?.map(String::from),
        })
    }
}

impl ListQuery {
    pub(crate) fn asked(self) -> Asked {
        Asked {
            size: self.size,
            page: self.page,
            cursor: self.cursor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_cannot_be_printed_is_told_from_the_rest() {
        assert!("Android 15 (Pixel) – é".chars().all(is_printable));
        for c in ['\0', '\n', '\u{7f}', '\u{202e}', '\u{200b}', '\u{feff}'] {
            assert!(!is_printable(c), "{c:?}");
        }
    }
}
