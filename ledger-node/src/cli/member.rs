//! `member`: who is in the consortium.

use ledger::{Body, Member, MemberId, Role, Roles};
use ledger_node::{Receipt, key};

use super::client::{Node, Signer};
use super::{AskArgs, Done, Failure, MemberAddArgs, SignArgs, failure, say, say_json};

pub(super) async fn add(args: MemberAddArgs) -> Done {
    let mut signer = Signer::new(&args.ask, &args.sign).await?;
    let (key, file) = match (args.new_key.public_key, args.new_key.key_out) {
        (Some(key), _) => (key, None),
        (None, Some(file)) => (key::generate(&file).map_err(failure)?, Some(file)),
        (None, None) => return Err(Failure("--key-out or --public-key is needed".to_owned())),
    };
    let member = Member {
        id: args.name,
        key,
        kind: args.kind,
        roles: Roles::from(args.role),
        organisations: args.organisation,
    };
    let done = match member.check() {
        Ok(()) => {
            let id = member.id.clone();
            match signer.submit(Body::AdmitMember { member }).await {
                Ok(receipt) => report(&id, "admitted", &receipt, args.ask.json),
                Err(failure) => Err(failure),
            }
        }
        Err(error) => Err(failure(error)),
    };
    if let (Ok(false), Some(file)) = (&done, &file) {
        // Nobody's key: left behind, it would only stand in the way of the next try.
        if let Err(error) = std::fs::remove_file(file) {
            eprintln!("ledger-node: {}: {error}", file.display());
        }
    }
    done
}

pub(super) async fn remove(name: MemberId, ask: &AskArgs, sign: &SignArgs) -> Done {
    let mut signer = Signer::new(ask, sign).await?;
    let receipt = signer
        .submit(Body::RemoveMember {
            member: name.clone(),
        })
        .await?;
    report(&name, "removed", &receipt, ask.json)
}

pub(super) async fn list(ask: &AskArgs) -> Done {
    for member in Node::new(ask)?.members().await? {
        if ask.json {
            say_json(&member)?;
            continue;
        }
        let roles: Vec<&str> = Vec::<Role>::from(member.roles)
            .into_iter()
            .map(Role::as_str)
            .collect();
        let organisations: Vec<String> = member
            .organisations
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect();
        say(format_args!(
            "{}  {}  {}  {}  {}",
            member.id,
            member.kind,
            if roles.is_empty() {
                "-".to_owned()
            } else {
                roles.join(",")
            },
            organisations.join(", "),
            member.key,
        ))?;
    }
    Ok(true)
}

fn report(name: &MemberId, done: &str, receipt: &Receipt, json: bool) -> Done {
    let mut accepted = true;
    for outcome in &receipt.outcomes {
        accepted &= outcome.is_accepted();
        if json {
            say_json(outcome)?;
        } else {
            match &outcome.verdict {
                Ok(()) => say(format_args!("{name} {done}, height {}", receipt.height))?,
                Err(refused) => say(format_args!("{name} refused {refused}"))?,
            }
        }
    }
    Ok(accepted && !receipt.outcomes.is_empty())
}
