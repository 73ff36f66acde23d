//! The keys of partitions.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// The partition of an application's own tokens.
///
/// `tenant` is empty where the authority has none. The key of the certificate that the tokens are bound to comes first, with
/// nothing between it and the client, as MSAL has it.
pub(super) fn application_partition(
    key_id: Option<&str>,
    client_id: &str,
    tenant: &str,
    components: &[(&str, &str)],
) -> String {
    let key_id = key_id.unwrap_or_default();
    let hash = hash(components).map(|hash| format!("_{hash}")).unwrap_or_default();
    format!("{key_id}{client_id}_{tenant}{hash}_AppTokenCache")
}

/// What stands for components in keys; none where there are none. They are in the order of their names.
///
/// Names and values are hashed without separators, as MSAL.NET does: different components may share a hash, so whoever finds
/// an entry by it compares the components themselves.
fn hash(components: &[(&str, &str)]) -> Option<String> {
    let add = |hash: Sha256, (name, value): &(&str, &str)| hash.chain_update(name).chain_update(value);
    let hash = || components.iter().fold(Sha256::new(), add).finalize();
    (!components.is_empty()).then(|| BASE64_URL_SAFE_NO_PAD.encode(hash()))
}

pub(super) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}
