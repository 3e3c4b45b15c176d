//! Names a field within a map.

use serde::Serialize;

/// A field within a map: the names on the way to it, from the key down. One name is a field of the map itself.
///
/// ```
/// # use meridian_client::Path;
/// let _: Path = "visits".into();
/// let _: Path = ["address", "city"].into();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Path(Vec<String>);

impl Path {
    /// As a JSON Pointer (RFC 6901): `/address/city`.
    pub(crate) fn pointer(&self) -> String {
        self.0.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
    }
}

impl From<&str> for Path {
    fn from(name: &str) -> Path {
        Path(vec![name.into()])
    }
}

impl From<String> for Path {
    fn from(name: String) -> Path {
        Path(vec![name])
    }
}

impl<const N: usize> From<[&str; N]> for Path {
    fn from(names: [&str; N]) -> Path {
        Path(names.map(String::from).into())
    }
}

impl From<Vec<String>> for Path {
    fn from(names: Vec<String>) -> Path {
        Path(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_a_pointer() {
        assert_eq!(Path::from(["a/b", "c~d", ""]).pointer(), "/a~1b/c~0d/");
        assert_eq!(Path::from("a").pointer(), "/a");
        assert_eq!(Path::default().pointer(), "");
    }
}
