//! What an acquisition waits for: whoever leads, the authority, the time.

use symbolon_protocol::acquisition::{Acquisition, Action, Event};

use crate::bindings::symbolon::concurrent::{cache, transport};
use crate::convert;
use crate::http;
use crate::shell::{self, Shell, Step};
use crate::words::acquisition::{AccessToken, AuthorizationRequest, Context, Request, SignIn};
use crate::words::types::Error;

/// Runs one acquisition.
pub(crate) async fn acquire(request: Request, context: Option<Context>) -> Result<AccessToken, Error> {
    shell::acquired(run(shell::start(request, context)?).await)
}

/// Begins a sign-in.
pub(crate) async fn authorize(
    sign_in: SignIn,
    context: Option<Context>,
) -> Result<AuthorizationRequest, Error> {
    shell::begun(run(shell::start_sign_in(sign_in, context)?).await)
}

async fn run((mut acquisition, mut action): (Acquisition, Action)) -> Action {
    let mut shell = Shell::default();
    loop {
        let event = match shell.step(action) {
            Step::Happened(event) => event,
            Step::Find(lookup) => Event::Found(shell.found(cache::find(convert::lookup(lookup)).await)),
            Step::Send(request) => Event::Answered(http::send(request, shell.credential.as_ref()).await),
            Step::Wait(milliseconds) => Event::Waited { now: transport::wait(milliseconds).await },
            Step::Ended(end) => return end,
        };
        action = acquisition.handle(event);
    }
}
