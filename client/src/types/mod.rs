//! The types: what each reads as, and what can be done to it.
//!
//! A handle is a key and a type. It sends the type with each request (but for a read of a map's field), so it never makes or changes a key of another one, and where
//! a key was created under several types at once it works on its own.

mod counter;
mod flag;
mod map;
mod register;
mod set;

pub use map::Changes;
pub use register::Sibling;
pub(crate) use register::value as register_value;

use crate::bucket::Place;
use crate::call::{Call, Change, Seen, context};
use crate::error::Kind;
use crate::request::Answer;
use std::marker::PhantomData;

/// A register: the last write wins, by hybrid logical clock.
pub type Register = Handle<register::Register>;
/// A register that keeps all values of which none has seen another.
pub type Multi = Handle<register::Multi>;
/// A counter: exact, however many nodes count at once.
pub type Counter = Handle<counter::Counter>;
/// A set of strings: an add wins over a concurrent remove.
pub type Set = Handle<set::Set>;
/// A flag: an enable wins over a concurrent disable.
pub type Flag = Handle<flag::Flag>;
/// The highest number that was observed.
pub type Max = Handle<flag::Max>;
/// The lowest number that was observed.
pub type Min = Handle<flag::Min>;
/// A map: its fields are of any of these types, and each is merged by itself.
pub type Map = Handle<map::Map>;

/// A key of a type.
///
/// All types can be read and deleted; what else can be done to one stands with its name: [`Register`], [`Multi`], [`Counter`],
/// [`Set`], [`Flag`], [`Max`], [`Min`], [`Map`].
#[derive(Debug)]
pub struct Handle<K> {
    pub(crate) place: Place,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Handle<K> {
    fn clone(&self) -> Self {
        Handle { place: self.place.clone(), kind: PhantomData }
    }
}

/// A type of key: what a [`Handle`] is generic over. It is implemented for the types that nodes have, and for no others.
pub trait Type: sealed::Sealed + Sized + 'static {
    /// What it is called in requests.
    const NAME: &'static str;
    /// What it reads as.
    type Value: Send + 'static;
    /// What an answer to a read says.
    #[doc(hidden)]
    fn value(answer: &Answer) -> Result<Self::Value, Kind>;
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for register::Register {}
impl sealed::Sealed for register::Multi {}
impl sealed::Sealed for counter::Counter {}
impl sealed::Sealed for set::Set {}
impl sealed::Sealed for flag::Flag {}
impl sealed::Sealed for flag::Max {}
impl sealed::Sealed for flag::Min {}
impl sealed::Sealed for map::Map {}

impl<K: Type> Handle<K> {
    pub(crate) fn new(place: Place) -> Handle<K> {
        Handle { place, kind: PhantomData }
    }

    /// Reads it; `None` where nothing is there.
    pub fn get(&self) -> Call<Option<K::Value>> {
        self.place.get(&[], |answer| K::value(answer).map(Some))
    }

    /// Reads it, and keeps what the read saw, for [`Change::seen`].
    pub fn read(&self) -> Call<Option<Seen<K::Value>>> {
        self.place.get(&[], |answer| Ok(Some(Seen { value: K::value(answer)?, context: context(answer)? })))
    }

    /// Deletes it, if it is there. What others write at the same time stays.
    pub fn delete(&self) -> Change<()> {
        self.place.delete()
    }
}
