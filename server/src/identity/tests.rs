//! Tests of authorities, bundles and the development authority.

use super::authority::{Authority, NODE_DAYS};
use super::*;
use std::thread;

fn authority(directory: &Path) -> Authority {
    Authority::init(directory).unwrap();
    Authority::read(directory).unwrap()
}

#[test]
fn a_bundle_is_one_nodes_and_comes_back_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority(&dir.path().join("ca"));
    let bundle_dir = dir.path().join("n1");
    authority.issue_into(&bundle_dir, "n1", NODE_DAYS).unwrap();
    let bundle = Bundle::read(&bundle_dir, "n1").unwrap();
    assert_eq!(bundle.cluster.node_of(&bundle.certificate), Some(bundle.node()));
    assert_eq!(bundle.node(), authority.issue("n1", 1).unwrap().node(), "the same name is the same node");
    assert_ne!(bundle.node(), authority.issue("n2", 1).unwrap().node());
    let refused = Bundle::read(&bundle_dir, "n2").err().unwrap().to_string();
    assert!(refused.contains("not that of the node \"n2\""), "{refused}");
    let refused = Bundle::read(&dir.path().join("ca"), "n1").err().unwrap().to_string();
    assert!(refused.contains("meridian tls issue n1"), "{refused}");
}

#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority(dir.path());
    assert!(matches!(Authority::init(dir.path()), Err(IdentityError::Exists { .. })));
    authority.issue_into(&dir.path().join("n1"), "n1", 1).unwrap();
    let again = authority.issue_into(&dir.path().join("n1"), "n1", 1);
    assert!(matches!(again, Err(IdentityError::Exists { .. })));
}

#[test]
fn a_certificate_of_another_cluster_names_no_node_of_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (authority(&dir.path().join("a")), authority(&dir.path().join("b")));
    let (ours, theirs) = (ours.issue("n1", 1).unwrap(), theirs.issue("n1", 1).unwrap());
    assert_eq!(ours.cluster.node_of(&theirs.certificate), None);
    assert_ne!(ours.node(), theirs.node());
}

#[test]
fn processes_that_start_together_make_one_development_authority() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("meridian");
    let starts: Vec<_> = (0..8)
        .map(|index| {
            let home = home.clone();
            thread::spawn(move || development::bundle(&home, &format!("n{index}")).unwrap().cluster.id)
        })
        .collect();
    let ids: Vec<Uuid> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn the_development_authority_lies_where_xdg_says() {
    let find = |xdg: &str, home: &str| {
        let (xdg, home) = (xdg.to_owned(), home.to_owned());
        development::directory(move |name| match name {
            "XDG_DATA_HOME" => Some(xdg.clone().into()),
            _ => Some(home.clone().into()),
        })
        .map(|path| path.display().to_string())
    };
    assert_eq!(find("/data", "/home/ada").unwrap(), "/data/meridian/development");
    assert_eq!(find("", "/home/ada").unwrap(), "/home/ada/.local/share/meridian/development");
    assert_eq!(find("relative", "/home/ada").unwrap(), "/home/ada/.local/share/meridian/development");
    assert!(matches!(find("", ""), Err(IdentityError::NoHome)));
}
