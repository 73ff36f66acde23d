//! Many callers cost one reading. Alone in its process, because it counts the bindings that the process makes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod certificates;

use std::sync::Arc;

use certificates::{Identity, write};
use symbolon_resources::clock::SystemClock;
use symbolon_resources::configuration::ApplicationOptions;
use symbolon_resources::credentials::{Binding, CredentialDescription, CredentialProvider, SigningBudget};
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn many_callers_cost_one_reading() {
    let directory = TempDir::new().unwrap();
    let pem = Identity::rsa("daemon").pem();
    let file = write(&directory, "daemon.pem", &pem);
    let options = ApplicationOptions::builder("app")
        .tenant_id("contoso.com")
        .credential(CredentialDescription::from_path(&file, None));
    let provider = Arc::new(CredentialProvider::new(&options.build().unwrap(), Arc::new(SystemClock)));
    let before = Binding::from_bytes(pem.as_bytes(), None).unwrap().generation();
    let start = Arc::new(tokio::sync::Barrier::new(64));
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let (provider, start) = (provider.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                let selected = provider.select(&SigningBudget::new()).await.unwrap();
                selected.binding().unwrap().generation()
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), before + 1);
    }
    // Every reading makes a binding, even where the one known before is kept.
    assert_eq!(Binding::from_bytes(pem.as_bytes(), None).unwrap().generation(), before + 2);
}
