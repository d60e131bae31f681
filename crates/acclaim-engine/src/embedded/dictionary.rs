//! The dictionary: names of kinds and target types, and the small numbers that are stored instead.
//!
//! A number, once given, is never given again. A kind that left the configuration keeps its number
//! and its edges; it just cannot be reached until it is configured again.

use std::collections::HashMap;

use acclaim_core::kind::MAX_KINDS;
use acclaim_core::limits::MAX_TARGET_TYPES;
use acclaim_core::{EdgeKey, KindId, Kinds, ReadError, Target, TargetKey, TargetType, UserKey};

use super::key::{EdgeRef, Key, KindNo, TargetRef, TypeNo, UserRef};
use super::notes::{self, name};
use super::view::View;

/// Names and their numbers.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    kind_numbers: Vec<KindNo>,
    kind_ids: HashMap<KindNo, KindId>,
    between_users: Vec<KindNo>,
    type_numbers: HashMap<TargetType, TypeNo>,
    type_names: Vec<TargetType>,
}

/// A name that needs a number before it can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewName {
    /// The note that remembers it.
    pub key: Key,
    /// The note's value.
    pub value: Vec<u8>,
}

impl Dictionary {
    /// Reads the dictionary of a store. Kinds without a number get one; their notes are returned
    /// and must be written before anything else.
    pub fn load(view: &View, kinds: &Kinds) -> Result<(Self, Vec<NewName>), ReadError> {
        let mut dictionary = Self::default();
        let mut known: HashMap<String, KindNo> = HashMap::new();
        for (key, value) in view.notes(&notes::key(name::KIND, &[]))? {
            known.insert(text(&key[2..])?, number(&value)? as KindNo);
        }
        let mut new = Vec::new();
        for (id, kind) in kinds.iter() {
            let next = known.len();
            let number = *known.entry(kind.name.to_string()).or_insert_with(|| {
                let key = notes::key(name::KIND, kind.name.as_bytes());
                new.push(NewName {
                    key,
                    value: (next as u16).to_be_bytes().to_vec(),
                });
                next as KindNo
            });
            dictionary.kind_numbers.push(number);
            dictionary.kind_ids.insert(number, id);
            if kind.is_between_users() {
                dictionary.between_users.push(number);
            }
        }
        if known.len() > MAX_KINDS * 3 {
            let reason = format!("the store knows {} kinds, more than it can", known.len());
            return Err(ReadError::Store(reason));
        }
        let mut types = view.notes(&notes::key(name::TARGET_TYPE, &[]))?;
        types.sort_by_key(|(_, value)| value.clone());
        for (key, _) in types {
            let target_type = TargetType::parse(&text(&key[2..])?);
            let target_type = target_type.map_err(|e| ReadError::Store(e.to_string()))?;
            dictionary.push_type(target_type);
        }
        Ok((dictionary, new))
    }

    /// The dictionary of a store without one.
    #[cfg(test)]
    pub fn numbered(kinds: &Kinds) -> Self {
        let mut dictionary = Self::default();
        for (number, (id, _)) in kinds.iter().enumerate() {
            dictionary.kind_numbers.push(number as KindNo);
            dictionary.kind_ids.insert(number as KindNo, id);
        }
        dictionary
    }

    fn push_type(&mut self, target_type: TargetType) -> TypeNo {
        let number = self.type_names.len() as TypeNo;
        self.type_numbers.insert(target_type.clone(), number);
        self.type_names.push(target_type);
        number
    }

    /// Gives a new type its number; the note must be written with the commit that uses it. `None`
    /// when the store knows as many as it can.
    pub fn add_type(&mut self, target_type: &TargetType) -> Option<(TypeNo, NewName)> {
        if self.type_names.len() >= MAX_TARGET_TYPES {
            return None;
        }
        let number = self.push_type(target_type.clone());
        let key = notes::key(name::TARGET_TYPE, target_type.as_str().as_bytes());
        Some((
            number,
            NewName {
                key,
                value: number.to_be_bytes().to_vec(),
            },
        ))
    }

    /// Whether a note names a type.
    pub fn is_type(key: &[u8]) -> bool {
        key.get(1) == Some(&name::TARGET_TYPE)
    }

    /// Adds a type that a replayed note names.
    pub fn learn(&mut self, key: &[u8]) {
        let text = std::str::from_utf8(key.get(2..).unwrap_or_default()).unwrap_or_default();
        if let Ok(target_type) = TargetType::parse(text)
            && !self.type_numbers.contains_key(&target_type)
        {
            self.push_type(target_type);
        }
    }

    /// A kind's number.
    pub fn kind(&self, kind: KindId) -> KindNo {
        self.kind_numbers[usize::from(kind.0)]
    }

    /// The configured kind of a number.
    pub fn kind_id(&self, number: KindNo) -> Option<KindId> {
        self.kind_ids.get(&number).copied()
    }

    /// Whether a kind has mutual edges.
    pub fn is_between_users(&self, kind: KindNo) -> bool {
        self.between_users.contains(&kind)
    }

    /// A type's number, if it was ever used.
    pub fn type_number(&self, target_type: &TargetType) -> Option<TypeNo> {
        self.type_numbers.get(target_type).copied()
    }

    /// The number of the type `USER`, if it was ever used.
    pub fn user_type(&self) -> Option<TypeNo> {
        self.type_number(&TargetType::USER)
    }

    /// The names of all types.
    pub fn type_names(&self) -> &[TargetType] {
        &self.type_names
    }

    /// A type's name.
    pub fn type_name(&self, number: TypeNo) -> Option<&TargetType> {
        self.type_names.get(usize::from(number))
    }

    /// All configured kinds.
    pub fn kinds(&self) -> impl Iterator<Item = (KindId, KindNo)> + '_ {
        self.kind_ids.iter().map(|(number, id)| (*id, *number))
    }

    /// An edge by numbers; `None` when nothing of its type was ever stored.
    pub fn edge(&self, edge: &EdgeKey) -> Option<EdgeRef> {
        let target_type = self.type_number(&edge.target.target_type)?;
        let (user, target) = (edge.user.clone(), edge.target.id.clone());
        Some(EdgeRef {
            kind: self.kind(edge.kind),
            user,
            target_type,
            target,
        })
    }

    /// An edge by names; `None` when its kind is not configured.
    pub fn edge_key(&self, edge: &EdgeRef) -> Option<EdgeKey> {
        let target = self.target_name(edge.target_type, &edge.target)?;
        Some(EdgeKey {
            kind: self.kind_id(edge.kind)?,
            user: edge.user.clone(),
            target,
        })
    }

    /// A target by names.
    pub fn target_name(&self, target_type: TypeNo, id: &acclaim_core::Id) -> Option<Target> {
        let target_type = self.type_name(target_type)?.clone();
        Some(Target {
            target_type,
            id: id.clone(),
        })
    }

    /// A target by numbers; `None` when nothing of its type was ever stored.
    pub fn target(&self, target: &TargetKey) -> Option<TargetRef> {
        let target_type = self.type_number(&target.target.target_type)?;
        Some(TargetRef {
            kind: self.kind(target.kind),
            target_type,
            id: target.target.id.clone(),
        })
    }

    /// A user by numbers.
    pub fn user(&self, user: &UserKey) -> UserRef {
        UserRef {
            kind: self.kind(user.kind),
            id: user.user.clone(),
        }
    }
}

fn text(bytes: &[u8]) -> Result<String, ReadError> {
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|_| ReadError::Store("a name in the dictionary is not UTF-8".to_owned()))
}

fn number(value: &[u8]) -> Result<u16, ReadError> {
    let bytes = value.try_into();
    let bytes =
        bytes.map_err(|_| ReadError::Store("a number in the dictionary is damaged".into()))?;
    Ok(u16::from_be_bytes(bytes))
}
