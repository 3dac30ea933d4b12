//! `init`: a chain's beginning.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use ledger::{Genesis, Member, MemberKey, Parameters, Roles};
use ledger_node::config::Config;
use ledger_node::{Clock as _, Node, SystemClock, key};

use super::{Done, Failure, InitArgs, failure, say, say_json};

/// The configuration file's name in the node's folder.
const CONFIG: &str = "node.toml";

/// The genesis' name in the node's folder.
const GENESIS: &str = "genesis.json";

/// The configuration file of a folder that [`init`] made.
pub(super) fn config_file(folder: &Path) -> PathBuf {
    folder.join(CONFIG)
}

pub(super) fn init(args: InitArgs) -> Done {
    let folder = &args.dir;
    let genesis = |key| {
        let genesis = Genesis {
            name: args.chain.clone(),
            time: SystemClock.now(),
            members: vec![Member {
                id: args.member.clone(),
                key,
                kind: args.kind,
                roles: Roles::ALL,
                organisations: args.organisation.clone(),
            }],
            parameters: Parameters::default(),
        };
        genesis.check().map(|()| genesis).map_err(failure)
    };
    // Before anything is written: nothing but the key can be wrong later.
    genesis(MemberKey::from_octets([0; 32]))?;
    make_empty(folder)?;
    let key_file = folder.join(format!("{}.key", args.member));
    let genesis = genesis(key::generate(&key_file).map_err(failure)?)?;
    let write = |name: &str, text: String| {
        let file = folder.join(name);
        fs::write(&file, text).map_err(|error| Failure(format!("{}: {error}", file.display())))
    };
    let text = serde_json::to_string_pretty(&genesis).map_err(failure)?;
    write(GENESIS, format!("{text}\n"))?;
    write(CONFIG, Config::template())?;
    let config = Config::read(&config_file(folder)).map_err(failure)?;
    Node::create(&config.node(), &genesis).map_err(failure)?;
    if args.json {
        say_json(&serde_json::json!({
            "chain": genesis.chain_id(),
            "name": genesis.name,
            "member": args.member,
            "folder": folder,
            "key": key_file,
        }))?;
        return Ok(true);
    }
    say(format_args!(
        "chain {} \"{}\" begins in {}: member {} with all roles, its key is {}\n\
         next: ledger-node run --dir {}",
        genesis.chain_id(),
        genesis.name,
        folder.display(),
        args.member,
        key_file.display(),
        folder.display(),
    ))?;
    Ok(true)
}

/// Makes the folder, for its owner only; an empty one that is there is taken, and closed to others.
fn make_empty(folder: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;

    let fail = |error: &dyn core::fmt::Display| Failure(format!("{}: {error}", folder.display()));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| fail(&error))?;
    if fs::read_dir(folder)
        .map_err(|error| fail(&error))?
        .next()
        .is_some()
    {
        return Err(fail(
            &"it is not empty; a chain begins in a new or empty folder, so that no key or store is overwritten",
        ));
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(|error| fail(&error))
}
