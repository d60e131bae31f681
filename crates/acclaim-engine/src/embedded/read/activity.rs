//! What targets did lately, for who takes a whole store elsewhere.

use acclaim_core::pulse::Pulse;
use acclaim_core::{KindId, ReadError, Target};

use super::super::key::{TargetRef, tag};
use super::super::record::TargetRecord;
use super::Reading;

impl Reading {
    /// Up to `most` targets of a kind after one, with their recent transitions, as the base has
    /// them.
    pub fn pulses(
        &self,
        kind: KindId,
        after: Option<&Target>,
        most: usize,
    ) -> Result<Vec<(Target, Pulse)>, ReadError> {
        let kind = self.dictionary.kind(kind);
        let after = after.and_then(|target| {
            let target = TargetRef {
                kind,
                target_type: self.dictionary.type_number(&target.target_type)?,
                id: target.id.clone(),
            };
            Some(target.key())
        });
        let prefix = [tag::TARGET, kind];
        let from = after.as_deref().unwrap_or(&prefix[..1]);
        let mut found = Vec::new();
        for stored in self.view.base.prefix_after(&prefix, from) {
            let (key, value) = stored?;
            let target = TargetRef::from_key(&key)?;
            let record = TargetRecord::decode(&value)?;
            let Some(target_type) = self.dictionary.type_name(target.target_type) else {
                continue;
            };
            let target = Target {
                target_type: target_type.clone(),
                id: target.id,
            };
            found.push((target, record.pulse));
            if found.len() == most {
                break;
            }
        }
        Ok(found)
    }
}
