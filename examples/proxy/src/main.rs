//! Runs the proxy that a settings file describes: `symbolon-example-proxy appsettings.json`.

use anyhow::Context;
use symbolon_example_proxy::Proxy;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let file = std::env::args_os().nth(1).context("usage: symbolon-example-proxy FILE")?;
    let proxy = Proxy::from_file(file).await?;
    println!("listening on http://{}", proxy.address()?);
    proxy.serve().await
}
