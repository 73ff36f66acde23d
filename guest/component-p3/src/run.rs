//! What an acquisition waits for: whoever leads, the authority, the time.

use symbolon_protocol::acquisition::Event;

use crate::bindings::symbolon::concurrent::{cache, transport};
use crate::convert;
use crate::http;
use crate::shell::{self, Shell, Step};
use crate::words::acquisition::{AccessToken, Context, Request};
use crate::words::types::Error;

/// Runs one acquisition.
pub(crate) async fn acquire(request: Request, context: Option<Context>) -> Result<AccessToken, Error> {
    let (mut acquisition, mut action) = shell::start(request, context)?;
    let mut shell = Shell::default();
    loop {
        let event = match shell.step(action) {
            Step::Happened(event) => event,
            Step::Find(lookup) => Event::Found(shell.found(cache::find(convert::lookup(lookup)).await)),
            Step::Send(request) => Event::Answered(http::send(request, shell.credential.as_ref()).await),
            Step::Wait(milliseconds) => Event::Waited { now: transport::wait(milliseconds).await },
            Step::Finished(result) => {
                return result.map(|token| convert::access_token(*token)).map_err(convert::error);
            }
        };
        action = acquisition.handle(event);
    }
}
