//! Writes the seeds of the target `ocsp_request` into `corpus/ocsp_request`: the requests of the bridge's own table.
//!
//! `cargo run --example ocsp_request_seeds`, in this folder, after that table has changed.

use std::path::Path;
use std::{fs, io};

use testkit::ocsp_requests::{self, Expect};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/ocsp_request");
    fs::create_dir_all(&folder)?;
    for case in ocsp_requests::all() {
        let name = match case.expect {
            Expect::Answer(_) => format!("answered-{}", case.name),
            Expect::Malformed(_) | Expect::Unauthorized(_) => {
                format!("refused-{}", case.name)
            }
        };
        fs::write(folder.join(name + ".seed"), case.octets)?;
    }
    Ok(())
}
