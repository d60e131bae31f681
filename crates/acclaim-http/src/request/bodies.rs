//! Bodies as they are sent, and how they become the words of the core.

use acclaim_core::notify::desk::WebhookForm;
use acclaim_core::notify::ownership::Ownership;
use acclaim_core::port::Place;
use acclaim_core::{Action, EdgeKey, Id, KindId, Op, Origin, Target};
use compact_str::CompactString;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::object::Object;
use super::values::{UserIdSchema, WireAddress, WireDevice, WireId, WirePlace, WireType, present};

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
