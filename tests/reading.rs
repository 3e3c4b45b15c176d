//! Reading parts of keys at the seam.

use meridian_core::cell::Type;
use meridian_core::node::{Operation, Reply};
use meridian_core::replica::read::{Part, ReadRequest};
use meridian_core::types::{Refusal, Value};
use meridian_tests::lab::{Lab, add, field};

const N1: usize = 0;

#[test]
fn whether_a_map_has_anything_is_known_without_reading_it() {
    let mut lab = Lab::new(1);
    for portion in 0..11 {
        let members: Vec<String> = (0..1_000).map(|member| format!("{portion}-{member}")).collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        lab.write(N1, "map", field("large", add(&members)));
    }
    let page = |limit| Part::Page { prefix: String::new(), after: None, limit };
    let mut ask = |part| {
        let read = ReadRequest { named: Some(Type::Map), part, ..ReadRequest::default() };
        lab.ask(N1, "map", Operation::Read(read))
    };
    assert_eq!(ask(page(1)), Reply::Refused(Refusal::PageRequired { of: Type::Map }));
    let Reply::Read(found) = ask(page(0)) else { panic!("it has a field") };
    assert_eq!(found.value, Some(Value::Map(Vec::new())));
}
