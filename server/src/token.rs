//! Tokens: what a client is given to hand back, and cannot make or change itself.
//!
//! ```text
//! base64url( version(1) kind(1) payload mac(16) )      mac = HMAC-SHA256(secret, version kind bound payload)[..16]
//! ```
//!
//! `bound` is what the token is valid for: a context's bucket and key; a cursor's bucket, and what is listed of it or paged through.
//! It is not in the token, so a token of another key does not fit. A context that names deltas that were never made could take away
//! writes that nobody has seen;
//! therefore no token is used before its checksum was found right.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meridian_core::codec::{self, Encode as _};
use meridian_core::context::Context;
use meridian_core::listing::Position;
use meridian_core::name::{Bucket, Key};
use meridian_core::path::Path;
use ring::hmac;

const VERSION: u8 = 1;
const CONTEXT: u8 = 1;
const CURSOR: u8 = 2;
const PAGE: u8 = 3;
const MAC_BYTES: usize = 16;
/// What a token of a few origins has at most.
const TOKEN_BYTES_USUAL: usize = 96;

/// The cluster's secret, for tokens.
#[derive(Clone)]
pub struct Tokens(hmac::Key);

/// The token is damaged, forged, or of another cluster, key, listing or kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It should be a context.
    #[error("this token was not given for this key by this cluster: read the key again for a fresh one")]
    Context,
    /// It should be a cursor.
    #[error(
        "this cursor was not given for this listing by this cluster: send it with the same parameters, or begin without one"
    )]
    Cursor,
}

impl Tokens {
    /// Tokens under a secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        Tokens(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token of what was seen of a key.
    pub fn context(&self, bucket: &Bucket, key: &Key, context: &Context) -> String {
        self.seal(CONTEXT, |bytes| context.encode(bytes), bucket, key.as_bytes())
    }

    /// What a token says that was seen of a key.
    ///
    /// # Errors
    /// [`BadToken::Context`].
    pub fn open_context(&self, bucket: &Bucket, key: &Key, token: &[u8]) -> Result<Context, BadToken> {
        let payload = self.open(CONTEXT, token, bucket, key.as_bytes()).ok_or(BadToken::Context)?;
        Context::from_bytes(&payload).map_err(|_| BadToken::Context)
    }

    /// The token of where a page of a collection ended: its last member, or field.
    pub fn page(&self, bucket: &Bucket, collection: &Collection<'_>, last: &str) -> String {
        self.seal(PAGE, |bytes| bytes.extend_from_slice(last.as_bytes()), bucket, &collection.bound())
    }

    /// Where the page before ended, of the same collection.
    ///
    /// # Errors
    /// [`BadToken::Cursor`].
    pub fn open_page(
        &self,
        bucket: &Bucket,
        collection: &Collection<'_>,
        token: &[u8],
    ) -> Result<String, BadToken> {
        let payload = self.open(PAGE, token, bucket, &collection.bound()).ok_or(BadToken::Cursor)?;
        String::from_utf8(payload).map_err(|_| BadToken::Cursor)
    }

    /// The token of where a page of a bucket's listing ended. `listing` says what is listed, and how.
    pub fn cursor(&self, bucket: &Bucket, listing: &[u8], position: &Position) -> String {
        self.seal(CURSOR, |bytes| bytes.extend_from_slice(&position.0), bucket, listing)
    }

    /// Where the page before ended, of the same listing.
    ///
    /// # Errors
    /// [`BadToken::Cursor`].
    pub fn open_cursor(&self, bucket: &Bucket, listing: &[u8], token: &[u8]) -> Result<Position, BadToken> {
        self.open(CURSOR, token, bucket, listing).map(Position).ok_or(BadToken::Cursor)
    }

    fn seal(&self, kind: u8, write: impl FnOnce(&mut Vec<u8>), bucket: &Bucket, bound: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES_USUAL);
        bytes.extend([VERSION, kind]);
        write(&mut bytes);
        let mac = self.mac(&bytes, bucket, bound);
        bytes.extend_from_slice(&mac.as_ref()[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The payload of a token of this kind, if its checksum is right.
    fn open(&self, kind: u8, token: &[u8], bucket: &Bucket, bound: &[u8]) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (signed, mac) = bytes.split_last_chunk::<MAC_BYTES>()?;
        let expected = self.mac(signed, bucket, bound);
        let differs = mac.iter().zip(expected.as_ref()).fold(0, |differs, (a, b)| differs | (a ^ b));
        match signed {
            [VERSION, found, payload @ ..] if differs == 0 && *found == kind => Some(payload.to_vec()),
            _ => None,
        }
    }

    fn mac(&self, signed: &[u8], bucket: &Bucket, bound: &[u8]) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.0);
        // A bucket has no zero byte, and what follows it is the last: no two bounds are written alike.
        mac.update(&(signed.len() as u64).to_be_bytes());
        mac.update(signed);
        mac.update(bucket.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(bound);
        mac.sign()
    }
}

/// What is paged through: the members of a set, or the fields of a map, that begin with `prefix`.
pub struct Collection<'a> {
    /// The key.
    pub key: &'a Key,
    /// Where in it; empty for the key itself.
    pub path: &'a Path,
    /// What the members begin with.
    pub prefix: &'a str,
}

impl Collection<'_> {
    fn bound(&self) -> Vec<u8> {
        let mut bound = Vec::new();
        codec::put_bytes(&mut bound, self.key.as_bytes());
        self.path.encode(&mut bound);
        bound.extend_from_slice(self.prefix.as_bytes());
        bound
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) use decoders::DECODERS;

/// Tokens as decoders that tests and fuzzers drive.
#[cfg(any(test, fuzzing))]
mod decoders {
    use super::*;
    use crate::decoders::Decoder;
    use meridian_core::cell::{Mark, SlotId, SlotSeen};
    use meridian_core::context::Seen;
    use meridian_core::id::{Dot, OriginId};

    pub(crate) const DECODERS: [Decoder; 2] = [
        Decoder { name: "token", check: token, seeds: tokens, memory_per_byte: 64 },
        Decoder { name: "token-payload", check: payload, seeds: payloads, memory_per_byte: 64 },
    ];

    fn ours() -> Tokens {
        Tokens::new(&[1; 32])
    }

    fn names() -> (Bucket, Key) {
        (Bucket::new("b").expect("a bucket"), Key::new(b"k").expect("a key"))
    }

    /// Whatever a client sends back: what is opened is what was given, letter by letter.
    fn token(bytes: &[u8]) -> bool {
        let (tokens, (bucket, key)) = (ours(), names());
        let collection = Collection { key: &key, path: &Path::default(), prefix: "o" };
        let context = tokens.open_context(&bucket, &key, bytes).ok();
        let context = context.map(|context| tokens.context(&bucket, &key, &context));
        let page = tokens.open_page(&bucket, &collection, bytes).ok();
        let page = page.map(|last| tokens.page(&bucket, &collection, &last));
        let cursor = tokens.open_cursor(&bucket, b"l", bytes).ok();
        let cursor = cursor.map(|position| tokens.cursor(&bucket, b"l", &position));
        let opened = [context, page, cursor];
        assert!(opened.iter().flatten().all(|token| token.as_bytes() == bytes), "another token opens");
        opened.iter().flatten().count() == 1
    }

    /// A payload under the right checksum, as another version may have given it: its kind (1), and the bytes.
    fn payload(bytes: &[u8]) -> bool {
        let Some((kind, payload)) = bytes.split_first() else { return false };
        let (tokens, (bucket, key)) = (ours(), names());
        let collection = Collection { key: &key, path: &Path::default(), prefix: "o" };
        let (page_bound, key_bound) = (collection.bound(), key.as_bytes());
        let bound = match *kind {
            CONTEXT => key_bound,
            PAGE => &page_bound,
            _ => b"l",
        };
        token(tokens.seal(*kind, |out| out.extend_from_slice(payload), &bucket, bound).as_bytes())
    }

    fn contexts() -> Vec<Context> {
        let dot = |origin, seq| Dot::new(OriginId(origin), seq);
        let seen = Seen::all_of(&[dot(7, 9), dot(u64::MAX, 300)].into_iter().collect()).and(dot(8, 2));
        let id = SlotId { origin: OriginId(7), birth: 1 };
        let slots = vec![SlotSeen { id, last: Mark { seq: 9, total: -300 } }];
        vec![Context::default(), Context { seen: seen.clone(), slots: Vec::new() }, Context { seen, slots }]
    }

    fn tokens() -> Vec<Vec<u8>> {
        let (tokens, (bucket, key)) = (ours(), names());
        let collection = Collection { key: &key, path: &Path::default(), prefix: "o" };
        let mut all: Vec<String> =
            contexts().iter().map(|context| tokens.context(&bucket, &key, context)).collect();
        all.push(tokens.page(&bucket, &collection, "opera"));
        all.push(tokens.cursor(&bucket, b"l", &Position(b"k\0".to_vec())));
        all.into_iter().map(String::into_bytes).collect()
    }

    fn payloads() -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> =
            contexts().iter().map(|context| [&[CONTEXT], &context.to_bytes()[..]].concat()).collect();
        all.extend([[&[PAGE], &b"opera"[..]].concat(), [&[CURSOR], &b"k\0"[..]].concat()]);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::context::Seen;
    use meridian_core::id::{Dot, OriginId};
    use meridian_core::path::Field;

    fn names(bucket: &str, key: &str) -> (Bucket, Key) {
        (Bucket::new(bucket).expect("a bucket"), Key::new(key.as_bytes()).expect("a key"))
    }

    #[test]
    fn a_token_opens_for_its_key_and_secret_only() {
        let (tokens, others) = (Tokens::new(&[1; 32]), Tokens::new(&[2; 32]));
        let seen = Seen::all_of(&[Dot::new(OriginId(7), 9)].into_iter().collect());
        let context = Context { seen, slots: Vec::new() };
        let (bucket, key) = names("b", "k");
        let token = tokens.context(&bucket, &key, &context);
        assert_eq!(tokens.open_context(&bucket, &key, token.as_bytes()), Ok(context));
        assert_eq!(others.open_context(&bucket, &key, token.as_bytes()), Err(BadToken::Context));
        for (bucket, key) in [names("b", "l"), names("c", "k"), names("b", "k2")] {
            assert_eq!(tokens.open_context(&bucket, &key, token.as_bytes()), Err(BadToken::Context));
        }
    }

    #[test]
    fn any_change_of_a_token_is_noticed() {
        let tokens = Tokens::new(&[1; 32]);
        let (bucket, key) = names("b", "k");
        let token = tokens.context(&bucket, &key, &Context::default()).into_bytes();
        for place in 0..token.len() {
            for other in [b'A', b'B', b'_', b'=', 0xff] {
                let mut changed = token.clone();
                changed[place] = other;
                let opened = tokens.open_context(&bucket, &key, &changed);
                assert!(changed == token || opened == Err(BadToken::Context), "{place}");
            }
            assert_eq!(tokens.open_context(&bucket, &key, &token[..place]), Err(BadToken::Context));
        }
    }

    #[test]
    fn a_cursor_opens_for_its_collection_only_and_is_no_context() {
        let tokens = Tokens::new(&[1; 32]);
        let (bucket, key) = names("b", "k");
        let path = |names: &[&str]| {
            Path::new(names.iter().map(|name| Field::new(name).expect("a name")).collect()).expect("a path")
        };
        let (root, tags) = (path(&[]), path(&["tags"]));
        let collection = Collection { key: &key, path: &tags, prefix: "o" };
        let cursor = tokens.page(&bucket, &collection, "opera");
        assert_eq!(tokens.open_page(&bucket, &collection, cursor.as_bytes()), Ok("opera".into()));
        let (other, longer) = (names("c", "k2"), path(&["tags", "o"]));
        for (bucket, key, path, prefix) in [
            (&other.0, &key, &tags, "o"),
            (&bucket, &other.1, &tags, "o"),
            (&bucket, &key, &root, "o"),
            (&bucket, &key, &longer, ""),
            (&bucket, &key, &tags, "op"),
        ] {
            let other = Collection { key, path, prefix };
            assert_eq!(tokens.open_page(bucket, &other, cursor.as_bytes()), Err(BadToken::Cursor));
        }
        for place in 0..cursor.len() {
            let cut = &cursor.as_bytes()[..place];
            assert_eq!(tokens.open_page(&bucket, &collection, cut), Err(BadToken::Cursor), "{place}");
        }
        assert_eq!(tokens.open_context(&bucket, &key, cursor.as_bytes()), Err(BadToken::Context));
        let context = tokens.context(&bucket, &key, &Context::default());
        assert_eq!(tokens.open_page(&bucket, &collection, context.as_bytes()), Err(BadToken::Cursor));
    }

    #[test]
    fn a_cursor_opens_for_its_listing_only_and_is_no_context() {
        let tokens = Tokens::new(&[1; 32]);
        let (bucket, key) = names("b", "k");
        let position = Position(b"k\0".to_vec());
        let cursor = tokens.cursor(&bucket, b"k", &position);
        assert_eq!(tokens.open_cursor(&bucket, b"k", cursor.as_bytes()), Ok(position));
        assert_eq!(tokens.open_cursor(&bucket, b"l", cursor.as_bytes()), Err(BadToken::Cursor));
        assert_eq!(tokens.open_cursor(&names("c", "k").0, b"k", cursor.as_bytes()), Err(BadToken::Cursor));
        assert_eq!(tokens.open_context(&bucket, &key, cursor.as_bytes()), Err(BadToken::Context));
        let context = tokens.context(&bucket, &key, &Context::default());
        assert_eq!(tokens.open_cursor(&bucket, b"k", context.as_bytes()), Err(BadToken::Cursor));
    }
}
