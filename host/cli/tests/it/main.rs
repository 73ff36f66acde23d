//! The binary from the outside, against a local authority over real TLS.

#[cfg(test)]
mod call;
#[cfg(test)]
mod check;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod flows;
#[cfg(test)]
mod inputs;
#[cfg(test)]
mod interfaces;
#[cfg(test)]
mod site;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod token;
