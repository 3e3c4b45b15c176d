//! Sets.

use super::{Handle, Type};
use crate::call::{Call, Change, Changed, json};
use crate::error::Kind;
use crate::list::Members;
use crate::request::{Answer, Method, Request};
use meridian_api::kv::with_parameter;
use serde_json::json;
use std::collections::BTreeSet;

/// Names the type.
#[derive(Debug)]
pub enum Set {}

impl Type for Set {
    const NAME: &'static str = "set";
    /// In byte order. One with more than 10,000 members is refused (`page_required`): see [`Handle::members`].
    type Value = BTreeSet<String>;

    fn value(answer: &Answer) -> Result<BTreeSet<String>, Kind> {
        json(answer)
    }
}

impl Handle<Set> {
    /// Adds members, at most 1,000 at a time, all at once or none.
    pub fn add<M: Into<String>>(&self, members: impl IntoIterator<Item = M>) -> Call<Changed> {
        self.place.post(&json!({"op": "add", "members": list(members)}), true, json)
    }

    /// Removes members, at most 1,000 at a time, all at once or none: those adds that the node has seen.
    pub fn remove<M: Into<String>>(&self, members: impl IntoIterator<Item = M>) -> Change<Changed> {
        Change::new(self.place.post(&json!({"op": "remove", "members": list(members)}), true, json))
    }

    /// Removes all members, however many there are.
    pub fn clear(&self) -> Change<Changed> {
        Change::new(self.place.post(&json!({"op": "clear"}), true, json))
    }

    /// Whether it has a member, at a cost that does not depend on its size.
    pub fn contains(&self, member: &str) -> Call<bool> {
        let request = Request::new(Method::GET, self.place.path(&[("contains", member)]));
        Call::new(&self.place.client, Ok(request), json).or(|| false)
    }

    /// The members in pages, in byte order; those that begin with `prefix`, which may be empty.
    ///
    /// Where nothing is there, the first page is an error ([`Code::KeyNotFound`](crate::Code::KeyNotFound)).
    pub fn members(&self, prefix: &str) -> Members {
        let path = with_parameter(&self.place.path(&[]), "limit", "1000");
        let path = if prefix.is_empty() { path } else { with_parameter(&path, "member_prefix", prefix) };
        Members::new(self.place.client.clone(), path)
    }
}

pub(super) fn list<M: Into<String>>(members: impl IntoIterator<Item = M>) -> Vec<String> {
    members.into_iter().map(Into::into).collect()
}
