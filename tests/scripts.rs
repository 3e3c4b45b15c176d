//! The protocol's interesting cases, as transcripts: each is played, and must come out as it is written. With `MERIDIAN_SCRIPTS_WRITE=1` what
//! comes out is written down, to be read before it is believed.

use meridian_tests::script::play;
use std::path::Path;

#[test]
fn every_script_comes_out_as_it_is_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let entries = std::fs::read_dir(&directory).expect("scripts are there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    let mut wrong = Vec::new();
    for path in &paths {
        let written = std::fs::read_to_string(path).expect("it can be read");
        let played = play(&written).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        if played != written && std::env::var_os("MERIDIAN_SCRIPTS_WRITE").is_some() {
            std::fs::write(path, &played).expect("it can be written");
        } else if played != written {
            wrong.push(format!("{} comes out as\n{played}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(paths.len() >= 10, "{} scripts", paths.len());
}

#[test]
fn a_line_that_is_not_understood_is_told_with_its_number() {
    for (script, why) in [
        ("nodes 2\nn3: put a b", "line 2: \"n3: put a b\": there is no node \"n3\""),
        ("nodes 1\nn1: jump a", "line 2: \"n1: jump a\": no such operation"),
        ("nodes 1\nn1: put a b seen=x", "line 2: \"n1: put a b seen=x\": no such context was kept"),
        ("nodes 1 x=1", "line 1: \"nodes 1 x=1\": no such setting: x"),
        ("dance", "line 1: \"dance\": it is not understood"),
    ] {
        assert_eq!(play(script), Err(why.into()));
    }
    assert_eq!(play("nodes 1\nn1: increment a 2\n  3\n"), Ok("nodes 1\nn1: increment a 2\n  2\n".into()));
}
