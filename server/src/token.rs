//! Tokens: what a client is given to hand back, and cannot make or change itself.
//!
//! ```text
//! base64url( version(1) kind(1) payload mac(16) )      mac = HMAC-SHA256(secret, version kind bound payload)[..16]
//! ```
//!
//! `bound` is what the token is valid for: a context's bucket and key. It is not in the token, so a token of another
//! key does not fit. A context that names deltas that were never made could take away writes that nobody has seen;
//! therefore no token is used before its checksum was found right.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meridian_core::codec::Encode as _;
use meridian_core::context::Context;
use meridian_core::name::{Bucket, Key};
use ring::hmac;

const VERSION: u8 = 1;
const CONTEXT: u8 = 1;
const MAC_BYTES: usize = 16;
/// What a token of a few origins has at most.
const TOKEN_BYTES_USUAL: usize = 96;

/// The cluster's secret, for tokens.
#[derive(Clone)]
pub struct Tokens(hmac::Key);

/// The token is damaged, forged, or of another cluster, key or kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this token was not given for this key by this cluster: read the key again for a fresh one")]
pub struct BadToken;

impl Tokens {
    /// Tokens under a secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        Tokens(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token of what was seen of a key.
    pub fn context(&self, bucket: &Bucket, key: &Key, context: &Context) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES_USUAL);
        bytes.extend([VERSION, CONTEXT]);
        context.encode(&mut bytes);
        let mac = self.mac(&bytes, bucket, key);
        bytes.extend_from_slice(&mac.as_ref()[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a token says that was seen of a key.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn open_context(&self, bucket: &Bucket, key: &Key, token: &[u8]) -> Result<Context, BadToken> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadToken)?;
        let (signed, mac) = bytes.split_last_chunk::<MAC_BYTES>().ok_or(BadToken)?;
        let expected = self.mac(signed, bucket, key);
        let differs = mac.iter().zip(expected.as_ref()).fold(0, |differs, (a, b)| differs | (a ^ b));
        match signed {
            [VERSION, CONTEXT, payload @ ..] if differs == 0 => {
                Context::from_bytes(payload).map_err(|_| BadToken)
            }
            _ => Err(BadToken),
        }
    }

    fn mac(&self, signed: &[u8], bucket: &Bucket, key: &Key) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.0);
        // A bucket has no zero byte, and a key is the last: no two bounds are written alike.
        mac.update(&(signed.len() as u64).to_be_bytes());
        mac.update(signed);
        mac.update(bucket.as_str().as_bytes());
        mac.update(&[0]);
        mac.update(key.as_bytes());
        mac.sign()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::id::{Dot, OriginId};

    fn names(bucket: &str, key: &str) -> (Bucket, Key) {
        (Bucket::new(bucket).expect("a bucket"), Key::new(key.as_bytes()).expect("a key"))
    }

    #[test]
    fn a_token_opens_for_its_key_and_secret_only() {
        let (tokens, others) = (Tokens::new(&[1; 32]), Tokens::new(&[2; 32]));
        let context = Context { vector: [Dot::new(OriginId(7), 9)].into_iter().collect(), slots: Vec::new() };
        let (bucket, key) = names("b", "k");
        let token = tokens.context(&bucket, &key, &context);
        assert_eq!(tokens.open_context(&bucket, &key, token.as_bytes()), Ok(context));
        assert_eq!(others.open_context(&bucket, &key, token.as_bytes()), Err(BadToken));
        for (bucket, key) in [names("b", "l"), names("c", "k"), names("b", "k2")] {
            assert_eq!(tokens.open_context(&bucket, &key, token.as_bytes()), Err(BadToken));
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
                assert!(changed == token || opened == Err(BadToken), "{place}");
            }
            assert_eq!(tokens.open_context(&bucket, &key, &token[..place]), Err(BadToken));
        }
    }
}
