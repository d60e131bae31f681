//! Between the words of the port and the numbers of the ledger: kinds, target types, partitions.
//!
//! A kind's number is looked up when the engine is opened. A type's number is given by the first
//! write that names it; a read of a type without a number finds nothing.

use std::collections::HashMap;

use acclaim_core::{
    EdgeKey, Id, KindId, Kinds, ReadError, Target, TargetKey, TargetType, WriteError,
};

use super::errors::{read_error, unavailable};
use super::shared::Shared;
use crate::ledger::dictionary::DictionaryError;
use crate::ledger::read::{EdgeRef, TargetRef};
use crate::ledger::{KindNo, Ledger, LedgerError, TypeNo};
use crate::redis::keys::{Partition, TargetName};

/// The numbers of the kinds, both ways, and that of `USER`.
#[derive(Debug)]
pub struct Names {
    numbers: Vec<KindNo>,
    ids: HashMap<u16, KindId>,
    user_type: TypeNo,
}

impl Names {
    /// Looks the kinds up; those that are new get their numbers now.
    ///
    /// # Errors
    /// [`DictionaryError`].
    pub async fn open(ledger: &Ledger, kinds: &Kinds) -> Result<Self, DictionaryError> {
        let mut numbers = Vec::new();
        let mut ids = HashMap::new();
        for (id, kind) in kinds.iter() {
            let number = ledger.kind_no(&kind.name).await?;
            numbers.push(number);
            ids.insert(number.0, id);
        }
        let user_type = ledger.type_no(&TargetType::USER).await?;
        Ok(Self {
            numbers,
            ids,
            user_type,
        })
    }

    /// The number of a kind.
    pub fn kind_no(&self, kind: KindId) -> KindNo {
        self.numbers[usize::from(kind.0)]
    }

    /// All kinds that are configured, by number.
    pub fn kinds(&self) -> impl Iterator<Item = (KindId, KindNo)> {
        (0..=u8::MAX).map(KindId).zip(self.numbers.iter().copied())
    }
}

impl Shared {
    /// A partition by its number.
    pub fn partition(&self, number: u16) -> Partition {
        self.redis.partition(self.store.epoch, number)
    }

    /// All partitions.
    pub fn all_partitions(&self) -> std::ops::Range<u16> {
        0..self.store.partitions
    }

    /// The partition that what belongs to a user itself lies in: that of the user as a target.
    pub fn home(&self, user: &Id) -> u16 {
        let name = TargetName {
            kind: 0,
            target_type: self.names.user_type.0,
            id: user.clone(),
        };
        name.partition(self.store.partitions)
    }

    /// A target by its numbers, if anything of its type was ever written.
    pub async fn known_target(&self, key: &TargetKey) -> Result<Option<TargetName>, ReadError> {
        let type_no = self.known_type(&key.target.target_type).await?;
        Ok(type_no.map(|type_no| self.name_of(key, type_no)))
    }

    /// The number of a type, if it has one.
    pub async fn known_type(&self, target_type: &TargetType) -> Result<Option<TypeNo>, ReadError> {
        if *target_type == TargetType::USER {
            return Ok(Some(self.names.user_type));
        }
        if let Some(number) = self.ledger.met_type_no(target_type) {
            return Ok(Some(number));
        }
        // Boxed, as is all that is seldom needed: every read would carry it along.
        let number = Box::pin(self.ledger.known_type_no(target_type)).await;
        number.map_err(read_error)
    }

    /// A target by its numbers; its type gets one now if it has none.
    pub async fn written_target(&self, key: &TargetKey) -> Result<TargetName, WriteError> {
        if let Some(number) = self.ledger.met_type_no(&key.target.target_type) {
            return Ok(self.name_of(key, number));
        }
        let number = Box::pin(self.ledger.type_no(&key.target.target_type)).await;
        let type_no = number.map_err(|error| match error {
            DictionaryError::Full { limit, given, .. } => {
                WriteError::TooManyTargetTypes { limit, given }
            }
            DictionaryError::Ledger(error) => unavailable(&error),
        })?;
        Ok(self.name_of(key, type_no))
    }

    fn name_of(&self, key: &TargetKey, type_no: TypeNo) -> TargetName {
        TargetName {
            kind: self.names.kind_no(key.kind).0,
            target_type: type_no.0,
            id: key.target.id.clone(),
        }
    }

    /// The edge of a user to a target given by numbers; nothing where the kind is not configured.
    pub async fn edge_of(
        &self,
        target: &TargetName,
        user: &Id,
    ) -> Result<Option<EdgeKey>, LedgerError> {
        let Some(kind) = self.names.ids.get(&target.kind) else {
            return Ok(None);
        };
        let Some(target_type) = self.ledger.type_name(TypeNo(target.target_type)).await? else {
            return Ok(None);
        };
        Ok(Some(EdgeKey {
            kind: *kind,
            user: user.clone(),
            target: Target {
                target_type,
                id: target.id.clone(),
            },
        }))
    }

    /// The ledger's words for an edge, if anything of its type was ever written.
    pub async fn known_edge(&self, edge: &EdgeKey) -> Result<Option<EdgeRef>, ReadError> {
        let target = self.known_target(&edge.target_key()).await?;
        Ok(target.map(|target| EdgeRef {
            to: target_ref(&target),
            user: edge.user.clone(),
        }))
    }
}

/// The ledger's words for a target.
pub fn target_ref(name: &TargetName) -> TargetRef {
    TargetRef {
        kind: KindNo(name.kind),
        target_type: TypeNo(name.target_type),
        target: name.id.clone(),
    }
}
