//! What clients ask in a schedule: a random write or read of any type.

use super::{Disk, World};
use meridian_core::cell::Type;
use meridian_core::name::{ContentType, Member};
use meridian_core::path::{Field, Path};
use meridian_core::replica::read::{Part, ReadRequest};
use meridian_core::replica::write::Write;
use meridian_core::types::counter::CounterOp;
use meridian_core::types::flag::FlagOp;
use meridian_core::types::map::FieldWrite;
use meridian_core::types::set::SetOp;
use rand::RngExt;
use rand::seq::IndexedRandom;

/// Names of fields that hold what rows use as marks. Few, so that paths cross.
const FIELDS: [&str; 3] = ["a", "\0", "a\0\u{1}"];

impl<D: Disk> World<D> {
    pub(super) fn random_write(&mut self, home: Option<Type>) -> Write {
        if self.one_in(12) {
            return Write::Delete;
        }
        let stray = self.one_in(20);
        match home.filter(|_| !stray).unwrap_or_else(|| self.any_type()) {
            Type::Map => {
                Write::Map((0..self.rng.random_range(1..=3)).map(|_| self.random_field_write()).collect())
            }
            other => self.random_update(other),
        }
    }

    /// A write of a type that is no map.
    fn random_update(&mut self, key_type: Type) -> Write {
        let count = self.rng.random_range(1..=3);
        match key_type {
            Type::Register | Type::Multi => {
                self.values += 1;
                let content_type = ContentType::new("text/plain").expect("a content type");
                Write::Put { content_type, value: format!("v{}", self.values).into_bytes() }
            }
            Type::Counter => Write::Counter((0..count).map(|_| self.random_counter_op()).collect()),
            Type::Flag => {
                let ops = [FlagOp::Enable, FlagOp::Disable];
                Write::Flag((0..count).map(|_| *ops.choose(&mut self.rng).expect("some")).collect())
            }
            Type::Max | Type::Min => {
                Write::Observe((0..count).map(|_| self.rng.random_range(-9..9)).collect())
            }
            Type::Set | Type::Map => Write::Set((0..count).map(|_| self.random_set_op()).collect()),
        }
    }

    fn random_field_write(&mut self) -> FieldWrite {
        let path = self.random_path(0);
        if path.is_root() || self.one_in(5) {
            return FieldWrite { path, named: None, write: Write::Delete };
        }
        // Mostly each field has a type of its own, so that most writes fit.
        let sum: usize = path.fields().iter().map(|field| field.as_str().len()).sum();
        let home = Type::ALL[sum % Type::ALL.len()];
        let key_type = if self.one_in(4) { self.any_type() } else { home };
        let named = (key_type == Type::Multi || key_type == Type::Min || self.one_in(8)).then_some(key_type);
        FieldWrite { path, named, write: self.random_update(key_type) }
    }

    fn random_path(&mut self, depth_min: usize) -> Path {
        let depth = if self.one_in(10) { depth_min } else { self.rng.random_range(1..=3) };
        let field = |rng: &mut _| Field::new(FIELDS.choose(rng).expect("some")).expect("a field");
        Path::new((0..depth).map(|_| field(&mut self.rng)).collect()).expect("a short path")
    }

    pub(super) fn random_read(&mut self) -> ReadRequest {
        let named = self.random_type();
        let path = if self.one_in(2) { Path::default() } else { self.random_path(0) };
        let part = match self.rng.random_range(0..6) {
            0 => Part::Member(self.random_members().pop().expect("some")),
            1 => {
                let names = ["", "a", "\0"];
                let prefix = (*names.choose(&mut self.rng).expect("some")).into();
                let after = self.one_in(2).then(|| (*names.choose(&mut self.rng).expect("some")).into());
                Part::Page { prefix, after, limit: self.rng.random_range(1..=3) }
            }
            _ => Part::Whole,
        };
        ReadRequest { named, path, part }
    }

    fn any_type(&mut self) -> Type {
        *Type::ALL.choose(&mut self.rng).expect("some")
    }

    fn random_counter_op(&mut self) -> CounterOp {
        match self.rng.random_range(0..10) {
            0..=1 => CounterOp::Reset,
            2 => CounterOp::Increment(*[i64::MAX, i64::MIN, 0].choose(&mut self.rng).expect("some")),
            _ => CounterOp::Increment(self.rng.random_range(-5..20)),
        }
    }

    fn random_set_op(&mut self) -> SetOp {
        match self.rng.random_range(0..8) {
            0 => SetOp::Clear,
            1..=2 => SetOp::Remove(self.random_members()),
            _ => SetOp::Add(self.random_members()),
        }
    }

    fn random_members(&mut self) -> Vec<Member> {
        let count = self.rng.random_range(1..=self.members.len());
        (0..count).map(|_| self.members.choose(&mut self.rng).expect("some").clone()).collect()
    }

    pub(super) fn random_type(&mut self) -> Option<Type> {
        let named = self.one_in(self.mix.named);
        named.then(|| self.any_type())
    }
}
