//! Writes the seeds of the target `ledger_transaction` into `corpus/ledger_transaction`.
//!
//! `cargo run --example ledger_transaction_seeds`, in this folder, after the forms of transactions
//! have changed. The certificates among the seeds are copied from `ledger/tests/vectors`.

use std::path::Path;
use std::{fs, io};

use ledger::{
    Block, BlockHash, BlockTime, Body, CertificateHash, ChainId, Class, Head, Height, Member,
    MemberKey, MemberKind, RevocationReason, Roles, SignedTransaction, Transaction,
};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("corpus/ledger_transaction");
    fs::create_dir_all(&folder)?;

    let vectors = root.join("../ledger/tests/vectors");
    let certificate = fs::read(vectors.join("p256-sha384.der"))?;
    for name in ["p256-sha384", "rsa-2048-pss-sha256", "p256-version-1"] {
        fs::copy(
            vectors.join(name).with_extension("der"),
            folder.join(format!("{name}.seed")),
        )?;
    }

    let hash = CertificateHash::of(&certificate);
    let member = Member {
        id: name("other"),
        key: MemberKey::from_octets([3; 32]),
        kind: MemberKind::Manufacturer,
        roles: Roles::SUBMISSION,
        organisations: vec!["Other".parse().expect("an organisation")],
    };
    let reason = RevocationReason::KeyCompromise;
    let bodies = [
        (
            "submit",
            Body::Submit {
                certificates: vec![certificate.clone()],
                class: Class::Device,
            },
        ),
        (
            "batch",
            Body::Submit {
                certificates: vec![certificate, vec![0x30]],
                class: Class::Ca,
            },
        ),
        ("revoke", Body::Revoke { hash, reason }),
        ("suspend", Body::Suspend { hash }),
        ("resume", Body::Resume { hash }),
        ("admit-member", Body::AdmitMember { member }),
        (
            "remove-member",
            Body::RemoveMember {
                member: name("acme"),
            },
        ),
    ];
    let chain = ChainId::from_octets([1; 32]);
    let mut all = Vec::new();
    for (index, (file, body)) in (1..).zip(bodies) {
        let member = name("acme");
        let transaction = Transaction {
            chain,
            member,
            nonce: index,
            expires: Height(9),
            body,
        };
        let signed = SignedTransaction {
            transaction,
            signature: [0; 64],
        };
        fs::write(folder.join(format!("{file}.seed")), signed.encode())?;
        all.push(signed);
    }
    let head = Head {
        height: Height(0),
        hash: BlockHash::from(chain),
        time: BlockTime(0),
    };
    let block = Block::after(&head, chain, BlockTime(1), all);
    fs::write(folder.join("block.seed"), block.encode())?;

    // Lists and texts that claim to be longer than they may be, or than what follows.
    let start = [&[1; 32][..], &4_u32.to_le_bytes(), b"acme", &[0; 16], &[0]].concat();
    for (file, count) in [("count-over-bound", 1_001_u32), ("count-over-rest", 1_000)] {
        let octets = [&start[..], &count.to_le_bytes()].concat();
        fs::write(folder.join(format!("{file}.seed")), octets)?;
    }
    Ok(())
}

fn name(text: &str) -> ledger::MemberId {
    text.parse().expect("a member's name")
}
