//! A path: names a field within a map, by the names of the fields on the way there.
//!
//! The empty path is the key itself. A field is like a key of its own: it has a head, and may have members, slots and fields.

use crate::codec::{self, DecodeError, Encode, Reader};
use crate::name::{MEMBER_BYTES_MAX, NameError};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// Most fields on a path. A deeper one is refused.
pub const DEPTH_MAX: usize = 32;
/// Most bytes of all names on a path. A longer one is refused.
pub const PATH_BYTES_MAX: usize = 4096;

/// The name of a field of a map: a string of 1 to 4,096 bytes. Fields are read in byte order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field(String);

impl Field {
    /// Checks a field's name.
    ///
    /// # Errors
    /// [`NameError::Field`] when it is empty or too long.
    pub fn new(name: &str) -> Result<Self, NameError> {
        match name.len() {
            1..=MEMBER_BYTES_MAX => Ok(Field(name.into())),
            _ => Err(NameError::Field),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The fields from a key down to one within it; none for the key itself. A path sorts before those that go on from it. Copies share
/// the fields: a delta names a path once for all that it does there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(Option<Arc<[Field]>>);

/// The path of the key itself.
pub static ROOT: Path = Path(None);

impl Path {
    /// Checks a path.
    ///
    /// # Errors
    /// [`NameError::Path`] when it is deeper than [`DEPTH_MAX`] or longer than [`PATH_BYTES_MAX`].
    pub fn new(fields: Vec<Field>) -> Result<Self, NameError> {
        let bytes: usize = fields.iter().map(|field| field.0.len()).sum();
        match fields.len() <= DEPTH_MAX && bytes <= PATH_BYTES_MAX {
            true => Ok(Path::of(&fields)),
            false => Err(NameError::Path),
        }
    }

    fn of(fields: &[Field]) -> Path {
        Path((!fields.is_empty()).then(|| Arc::from(fields)))
    }

    /// The fields, from the key down.
    pub fn fields(&self) -> &[Field] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether it is the key itself.
    pub fn is_root(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it leads to `other`, or to something in whose way `other` lies: the other begins with it.
    pub fn leads_to(&self, other: &Path) -> bool {
        other.fields().starts_with(self.fields())
    }

    /// The paths of all maps that it leads through, from the key's own fields down, without itself.
    pub fn ancestors(&self) -> impl Iterator<Item = Path> + '_ {
        (1..self.fields().len()).map(|depth| Path::of(&self.fields()[..depth]))
    }

    /// About how much memory it takes beside itself, in bytes.
    pub(crate) fn footprint(&self) -> usize {
        self.fields().iter().map(|field| size_of::<Field>() + field.0.len()).sum()
    }
}

/// Fewest bytes of a field.
const FIELD_BYTES_MIN: usize = 2;

impl Encode for Path {
    fn encode(&self, out: &mut Vec<u8>) {
        codec::put_varint(out, self.fields().len() as u64);
        for field in self.fields() {
            codec::put_bytes(out, field.0.as_bytes());
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = input.count(FIELD_BYTES_MIN)?;
        if count > DEPTH_MAX {
            return Err(DecodeError::Invalid("path: too deep"));
        }
        let mut fields = codec::list_for(count);
        for _ in 0..count {
            fields.push(Field::new(input.text()?).map_err(|_| DecodeError::Invalid("field"))?);
        }
        Path::new(fields).map_err(|_| DecodeError::Invalid("path: too long"))
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/")?;
        for (place, field) in self.fields().iter().enumerate() {
            write!(f, "{}{}", if place > 0 { "/" } else { "" }, field.0.escape_debug())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(names: &[&str]) -> Path {
        Path::new(names.iter().map(|name| Field::new(name).unwrap()).collect()).unwrap()
    }

    #[test]
    fn a_path_has_a_depth_and_a_length() {
        let deep = |depth: usize| Path::new(alloc::vec![Field::new("f").unwrap(); depth]);
        assert!(deep(DEPTH_MAX).is_ok());
        assert_eq!(deep(DEPTH_MAX + 1), Err(NameError::Path));
        let long = Field::new(&"f".repeat(PATH_BYTES_MAX)).unwrap();
        assert!(Path::new(alloc::vec![long.clone()]).is_ok());
        assert_eq!(Path::new(alloc::vec![long, Field::new("f").unwrap()]), Err(NameError::Path));
        assert_eq!(Field::new(""), Err(NameError::Field));
    }

    #[test]
    fn ancestors_are_the_maps_on_the_way() {
        assert_eq!(path(&["a", "b", "c"]).ancestors().collect::<Vec<_>>(), [path(&["a"]), path(&["a", "b"])]);
        assert_eq!(path(&["a"]).ancestors().count(), 0);
        assert!(ROOT.leads_to(&path(&["a"])) && path(&["a"]).leads_to(&path(&["a", "b"])));
        assert!(!path(&["a"]).leads_to(&path(&["ab"])));
    }

    proptest! {
        #[test]
        fn paths_come_back(names in proptest::collection::vec("\\PC{1,9}", 0..6)) {
            let path = path(&names.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(Path::from_bytes(&path.to_bytes()), Ok(path));
        }
    }
}
