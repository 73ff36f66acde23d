//! Calls an API that wants a certificate and no token: `cargo run -p symbolon-example-mtls-only`.
//!
//! The API is a local one, and so is the certificate. With a settings file as argument it is the API `orders` of that
//! file's `DownstreamApis`.

mod local;

use symbolon::{Settings, Symbolon};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let local = local::Site::start().await?;
    let file = std::env::args_os().nth(1).map_or(local.settings(), Into::into);

    let settings = Settings::from_file(file)?;
    let application = Symbolon::builder().build()?.application(settings.application(None)?)?;
    let response = application.downstream_api("orders")?.get("orders/1").send().await?;

    println!("{}", response.status());
    println!("{}", response.error_for_status().await?.text().await?);
    Ok(())
}
