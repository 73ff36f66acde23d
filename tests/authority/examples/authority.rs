//! Runs a local Entra ID: `cargo run -p symbolon-authority --example authority -- [DATA-DIRECTORY [ADDRESS:PORT]]`.

use symbolon_authority::Authority;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut builder = Authority::builder().control(true);
    let directory = arguments.next();
    if let Some(directory) = &directory {
        builder = builder.data_dir(directory);
    }
    if let Some(address) = arguments.next() {
        builder = builder.listen(address);
    }
    let authority = builder.start().await?;
    println!("authority: {}", authority.address());
    if let Some(control) = authority.control_address() {
        println!("control:   http://{control}");
    }
    match directory {
        Some(directory) => println!("data:      {directory} (ca.pem, applications.json, appsettings-*.json)"),
        None => println!("{}", authority.ca_pem()),
    }
    tokio::signal::ctrl_c().await?;
    authority.shutdown_and_wait().await;
    Ok(())
}
