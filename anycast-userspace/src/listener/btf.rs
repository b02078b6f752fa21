//! As much of BTF (Documentation/bpf/btf.rst) as it takes to find a structure's field by name. Pure.

use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;

// Kinds of types, from linux/btf.h.
const KIND_ARRAY: u32 = 3;
const KIND_INT: u32 = 1;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// How deep unnamed structures are looked into.
const DEEPEST: u32 = 8;

/// What is wrong with it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BtfError {
    /// It begins with something else.
    #[error("not BTF of this machine's byte order")]
    Magic,
    /// It ends early.
    #[error("BTF is cut short")]
    Short,
}

/// Types of a kernel.
pub(super) struct Btf<'data> {
    types: &'data [u8],
    strings: &'data [u8],
    /// Where each type begins in `types`; number 0 is `void`.
    places: Vec<usize>,
    structures: HashMap<&'data [u8], u32>,
}

/// The head that every type has.
struct Head {
    name: u32,
    kind: u32,
    /// How many members or the like follow.
    count: usize,
    /// Whether a member's offset has the size of a bit field in it.
    bit_fields: bool,
    /// The type that it refers to, for kinds that do.
    target: u32,
}

impl<'data> Btf<'data> {
    /// Reads the header, and finds the types.
    ///
    /// # Errors
    /// It is not BTF, or damaged.
    pub(super) fn parse(data: &'data [u8]) -> Result<Self, BtfError> {
        if data.first_chunk().map(|magic| u16::from_ne_bytes(*magic)) != Some(MAGIC) {
            return Err(BtfError::Magic);
        }
        let field = |at: usize| {
            word(data, at)
                .map(|value| value as usize)
                .ok_or(BtfError::Short)
        };
        let (header, type_at, type_length) = (field(4)?, field(8)?, field(12)?);
        let (string_at, string_length) = (field(16)?, field(20)?);
        let section = |at: usize, length: usize| {
            data.get(header.saturating_add(at)..)
                .and_then(|rest| rest.get(..length))
                .ok_or(BtfError::Short)
        };
        let mut btf = Self {
            types: section(type_at, type_length)?,
            strings: section(string_at, string_length)?,
            places: vec![0],
            structures: HashMap::new(),
        };
        btf.find_types()?;
        Ok(btf)
    }

    /// The offset in bytes of a field of a structure, also of one that lies in an unnamed member.
    pub(super) fn offset(&self, structure: &str, field: &str) -> Option<u32> {
        let id = *self.structures.get(structure.as_bytes())?;
        self.bits_to(id, field.as_bytes(), DEEPEST)
            .map(|bits| bits / 8)
    }

    fn find_types(&mut self) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.types.len() {
            let head = self.head(at).ok_or(BtfError::Short)?;
            let id = u32::try_from(self.places.len()).map_err(|_| BtfError::Short)?;
            if head.kind == KIND_STRUCT {
                self.structures.entry(self.string(head.name)).or_insert(id);
            }
            self.places.push(at);
            at += 12 + tail(&head);
        }
        Ok(())
    }

    fn bits_to(&self, id: u32, field: &[u8], depth: u32) -> Option<u32> {
        let at = *self.places.get(id as usize)?;
        let head = self.head(at)?;
        for member in 0..head.count {
            let at = at + 12 + member * 12;
            let (name, target) = (word(self.types, at)?, word(self.types, at + 4)?);
            let mut bits = word(self.types, at + 8)?;
            if head.bit_fields {
                bits &= 0x00ff_ffff;
            }
            let name = self.string(name);
            if name == field {
                return Some(bits);
            }
            if name.is_empty() && depth > 0 {
                let inner = self
                    .structure(target)
                    .and_then(|inner| self.bits_to(inner, field, depth - 1));
                if let Some(inner) = inner {
                    return Some(bits + inner);
                }
            }
        }
        None
    }

    /// The structure or union that a type is, seen through qualifiers and other names.
    fn structure(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEEPEST {
            let head = self.head(*self.places.get(id as usize)?)?;
            match head.kind {
                KIND_STRUCT | KIND_UNION => return Some(id),
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = head.target;
                }
                _ => return None,
            }
        }
        None
    }

    fn head(&self, at: usize) -> Option<Head> {
        let info = word(self.types, at + 4)?;
        Some(Head {
            name: word(self.types, at)?,
            kind: info >> 24 & 0x1f,
            count: (info & 0xffff) as usize,
            bit_fields: info >> 31 == 1,
            target: word(self.types, at + 8)?,
        })
    }

    fn string(&self, at: u32) -> &'data [u8] {
        let rest = self.strings.get(at as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// How many bytes follow the head.
fn tail(head: &Head) -> usize {
    match head.kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => head.count * 12,
        KIND_ENUM | KIND_FUNC_PROTO => head.count * 8,
        // Pointers, other names, qualifiers, functions, floating point numbers.
        _ => 0,
    }
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct inner { a; b; }`, and `struct outer { x; struct { a; b; } (unnamed); const inner y; }`.
    fn example() -> Vec<u8> {
        let strings = b"\0inner\0a\0b\0outer\0x\0y\0";
        let (inner, a, b, outer, x, y) = (1, 7, 9, 11, 17, 19);
        let members = |kind: u32, name: u32, list: &[(u32, u32, u32)]| {
            let mut words = vec![name, kind << 24 | u32::try_from(list.len()).unwrap(), 64];
            words.extend(
                list.iter()
                    .flat_map(|(name, target, bits)| [*name, *target, *bits]),
            );
            words
        };
        let mut types = vec![0, KIND_INT << 24, 4, 32];
        types.extend(members(KIND_STRUCT, inner, &[(a, 1, 0), (b, 1, 32)]));
        types.extend(members(KIND_STRUCT, 0, &[(a, 1, 0), (b, 1, 32)]));
        types.extend([0, KIND_CONST << 24, 3]);
        types.extend(members(
            KIND_STRUCT,
            outer,
            &[(x, 1, 0), (0, 4, 64), (y, 2, 128)],
        ));
        let type_length = u32::try_from(types.len() * 4).unwrap();
        let mut data = MAGIC.to_ne_bytes().to_vec();
        data.extend([1, 0]);
        let string_length = u32::try_from(strings.len()).unwrap();
        for word in [24, 0, type_length, type_length, string_length]
            .into_iter()
            .chain(types)
        {
            data.extend(u32::to_ne_bytes(word));
        }
        data.extend(strings);
        data
    }

    #[test]
    fn a_field_is_found_also_in_an_unnamed_member() {
        let data = example();
        let btf = Btf::parse(&data).unwrap();
        for (structure, field, offset) in [
            ("inner", "b", Some(4)),
            ("outer", "x", Some(0)),
            ("outer", "a", Some(8)),
            ("outer", "b", Some(12)),
            ("outer", "y", Some(16)),
            ("outer", "z", None),
            ("nothing", "a", None),
        ] {
            assert_eq!(btf.offset(structure, field), offset, "{structure}.{field}");
        }
    }

    #[test]
    fn what_is_cut_short_or_something_else_is_refused() {
        let data = example();
        assert_eq!(Btf::parse(b"\x7fELF").err(), Some(BtfError::Magic));
        for length in 2..data.len() {
            assert_eq!(
                Btf::parse(&data[..length]).err(),
                Some(BtfError::Short),
                "{length} octets"
            );
        }
    }
}
