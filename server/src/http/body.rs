//! Bodies under limits: how long one may be, how long it may take, and how many bytes all of them may hold at once.

use super::answer::Refused;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use meridian_api::error::Code;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Answers up to this length are not counted: there is at most one for each connection.
const COUNTED_BYTES_MIN: usize = 16 << 10;

/// How many bytes of bodies, of requests and of answers, are held at once. Beyond it a request is refused.
#[derive(Clone)]
pub(super) struct Budget {
    bytes: Arc<Semaphore>,
    bytes_max: usize,
}

/// A part of the budget, until it is dropped.
#[derive(Default)]
pub(super) struct Share(Option<OwnedSemaphorePermit>);

impl Budget {
    /// A budget of so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Budget { bytes: Arc::new(Semaphore::new(bytes_max)), bytes_max }
    }

    /// How many bytes are held.
    pub(super) fn held(&self) -> usize {
        self.bytes_max - self.bytes.available_permits()
    }

    fn take(&self, share: &mut Share, bytes: usize) -> Result<(), Refused> {
        let permits = u32::try_from(bytes).ok();
        let taken = permits.and_then(|permits| self.bytes.clone().try_acquire_many_owned(permits).ok());
        let taken = taken.ok_or_else(|| {
            Refused::new(
                Code::Overloaded,
                "the node holds as many bytes of bodies as it may: try again, or another node",
            )
        })?;
        match &mut share.0 {
            Some(held) => held.merge(taken),
            held => *held = Some(taken),
        }
        Ok(())
    }

    /// An answer's body that counts until it is written.
    ///
    /// # Errors
    /// 503 when too much is held already.
    pub(super) fn counted(&self, body: Vec<u8>) -> Result<Bytes, Refused> {
        if body.len() < COUNTED_BYTES_MIN {
            return Ok(body.into());
        }
        let mut share = Share::default();
        self.take(&mut share, body.len())?;
        Ok(Bytes::from_owner(Counted { body, _share: share }))
    }
}

struct Counted {
    body: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Reads a request's body of at most `bytes_max`.
///
/// # Errors
/// 413, 408, 503, and 400 when the connection breaks off.
pub(super) async fn read(
    body: Incoming,
    bytes_max: usize,
    too_large: Code,
    time_max: Duration,
    budget: &Budget,
) -> Result<(Bytes, Share), Refused> {
    let refuse = || Refused::new(too_large, format!("at most {bytes_max} bytes are taken"));
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(refuse());
    }
    let all = async {
        let (mut body, mut share) = (body, Share::default());
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|_| Refused::new(Code::BadRequest, "the body broke off or is malformed"))?;
            let Ok(data) = frame.into_data() else { continue };
            if first.len() + rest.len() + data.len() > bytes_max {
                return Err(refuse());
            }
            budget.take(&mut share, data.len())?;
            match first.is_empty() {
                true => first = data,
                false => rest.extend_from_slice(&data),
            }
        }
        if !rest.is_empty() {
            first = [first, rest.freeze()].concat().into();
        }
        Ok((first, share))
    };
    let late =
        || Refused::new(Code::RequestTimeout, "the body did not arrive in time: send it faster, or in parts");
    timeout(time_max, all).await.map_err(|_| late())?
}
