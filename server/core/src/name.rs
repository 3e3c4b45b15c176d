//! What users name: buckets, keys, set members, content types, and how they are hashed into shards.
//!
//! Each is parsed once, at the edge, into a type that cannot be wrong afterwards.

use crate::id::ShardId;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use xxhash_rust::xxh3;

/// Longest bucket name, in bytes. A longer one is refused.
pub const BUCKET_BYTES_MAX: usize = 128;
/// Longest key, in bytes. A longer one is refused.
pub const KEY_BYTES_MAX: usize = 4096;
/// Longest set member, in bytes of UTF-8. A longer one is refused.
pub const MEMBER_BYTES_MAX: usize = 4096;
/// Longest content type, in bytes. A longer one is refused.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// Why a name was refused. The message says what would be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The bucket's name has a character, a beginning or a length that is not allowed.
    #[error("a bucket's name is 1 to 128 of a-z 0-9 . _ - and does not begin with . or _")]
    Bucket,
    /// The key has no bytes.
    #[error("a key has at least one byte")]
    KeyEmpty,
    /// The key is longer than [`KEY_BYTES_MAX`].
    #[error("a key has at most 4096 bytes")]
    KeyTooLong,
    /// The member is empty or longer than [`MEMBER_BYTES_MAX`].
    #[error("a member has 1 to 4096 bytes")]
    Member,
    /// The field's name is empty or longer than [`MEMBER_BYTES_MAX`].
    #[error("the name of a field has 1 to 4096 bytes")]
    Field,
    /// The path to a field is deeper or longer than paths may be.
    #[error("a path has at most 32 fields and 4096 bytes")]
    Path,
    /// The content type is empty, too long, or has a character that no header may carry.
    #[error("a content type is 1 to 255 printable ASCII characters")]
    ContentType,
}

/// A named set of keys with a policy: 1 to 128 of `a-z 0-9 . _ -`, not beginning with `.` or `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(String);

/// The system's own bucket, in which each policy is a key named like its bucket. No user can name it.
const POLICIES: &str = "_buckets";

impl Bucket {
    /// The bucket of policies.
    pub fn policies() -> Self {
        Bucket(POLICIES.into())
    }

    /// A bucket that stands in a row or a delta: a user's, or the system's own.
    ///
    /// # Errors
    /// [`NameError::Bucket`].
    pub fn stored(name: &str) -> Result<Self, NameError> {
        if name == POLICIES { Ok(Bucket::policies()) } else { Bucket::new(name) }
    }

    /// Checks a user's bucket name.
    ///
    /// # Errors
    /// [`NameError::Bucket`] unless it is 1 to 128 of the allowed characters.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        let fits = !name.is_empty() && name.len() <= BUCKET_BYTES_MAX && !name.starts_with(['.', '_']);
        match fits && name.bytes().all(allowed) {
            true => Ok(Bucket(name.into())),
            false => Err(NameError::Bucket),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a user names within a bucket: 1 to 4,096 bytes, any.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// Checks a user's key.
    ///
    /// # Errors
    /// [`NameError::KeyEmpty`] and [`NameError::KeyTooLong`].
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        match bytes.len() {
            0 => Err(NameError::KeyEmpty),
            1..=KEY_BYTES_MAX => Ok(Key(bytes.into())),
            _ => Err(NameError::KeyTooLong),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A member of a set: a string of 1 to 4,096 bytes. Members are read in byte order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(String);

impl Member {
    /// Checks a user's member.
    ///
    /// # Errors
    /// [`NameError::Member`] when it is empty or too long.
    pub fn new(text: &str) -> Result<Self, NameError> {
        match text.len() {
            1..=MEMBER_BYTES_MAX => Ok(Member(text.into())),
            _ => Err(NameError::Member),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a register's bytes are, as the writer said it: 1 to 255 printable ASCII characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentType(String);

impl ContentType {
    /// Checks a content type. It is not parsed: what was written is what is read.
    ///
    /// # Errors
    /// [`NameError::ContentType`] when it is empty, too long or could not stand in a header.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let printable = text.bytes().all(|b| (b' '..=b'~').contains(&b));
        match printable && (1..=CONTENT_TYPE_BYTES_MAX).contains(&text.len()) {
            true => Ok(ContentType(text.into())),
            false => Err(NameError::ContentType),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many shards a cluster has: a power of two from 1 to 32,768, set when the cluster is made and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardCount(u16);

impl ShardCount {
    /// What a cluster has unless it says otherwise.
    pub const DEFAULT: ShardCount = ShardCount(256);

    /// A power of two from 1 to 32,768; anything else is `None`.
    pub fn new(count: u16) -> Option<Self> {
        count.is_power_of_two().then_some(ShardCount(count))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }

    /// All shards, in order.
    pub fn shards(self) -> impl Iterator<Item = ShardId> {
        (0..self.0).map(ShardId)
    }

    /// Whether `shard` is one of these.
    pub fn contains(self, shard: ShardId) -> bool {
        shard.0 < self.0
    }

    /// The shard of a key: the low bits of `xxh3_64(bucket ‖ 00 ‖ key)`. The same on every node, for ever.
    pub fn shard_of(self, bucket: &Bucket, key: &Key) -> ShardId {
        let mut hasher = xxh3::Xxh3::new();
        hasher.update(bucket.0.as_bytes());
        hasher.update(&[0]);
        hasher.update(&key.0);
        ShardId((hasher.digest() % u64::from(self.0)) as u16)
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_are_as_documented() {
        for good in ["a", "users", "a.b_c-9", "0", &"x".repeat(128)] {
            assert!(Bucket::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "_a", "A", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert_eq!(Bucket::new(bad), Err(NameError::Bucket), "{bad}");
        }
        assert_eq!(Bucket::new(POLICIES), Err(NameError::Bucket));
        assert_eq!(Bucket::stored(POLICIES), Ok(Bucket::policies()));
        assert_eq!(Bucket::stored("_other"), Err(NameError::Bucket));
    }

    #[test]
    fn keys_and_members_have_a_length() {
        assert_eq!(Key::new(b""), Err(NameError::KeyEmpty));
        assert!(Key::new(&[0; 4096]).is_ok());
        assert_eq!(Key::new(&[0; 4097]), Err(NameError::KeyTooLong));
        assert_eq!(Member::new(""), Err(NameError::Member));
        assert!(Member::new(&"m".repeat(4096)).is_ok());
        assert_eq!(Member::new(&"m".repeat(4097)), Err(NameError::Member));
    }

    #[test]
    fn a_content_type_can_stand_in_a_header() {
        assert!(ContentType::new("text/plain; charset=utf-8").is_ok());
        for bad in ["", "a\nb", "a\u{7f}", "ü", &"x".repeat(256)] {
            assert_eq!(ContentType::new(bad), Err(NameError::ContentType), "{bad:?}");
        }
    }

    #[test]
    fn the_shard_of_a_key_never_changes() {
        // Golden: a change here would move every key of every cluster.
        let shard = |bucket, key: &str| {
            let (bucket, key) = (Bucket::new(bucket).unwrap(), Key::new(key.as_bytes()).unwrap());
            ShardCount::DEFAULT.shard_of(&bucket, &key).0
        };
        assert_eq!([shard("users", "42"), shard("stats", "home"), shard("a", "bc")], [112, 62, 159]);
    }

    #[test]
    fn shard_counts_are_powers_of_two() {
        assert_eq!(ShardCount::new(0), None);
        assert_eq!(ShardCount::new(3), None);
        assert_eq!(ShardCount::new(1).unwrap().shards().count(), 1);
        assert_eq!(ShardCount::new(32_768).unwrap().shards().count(), 32_768);
    }
}
