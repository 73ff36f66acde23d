//! In which tenant another application gets a token that stands in for an assertion.

use url::Url;

use super::assertion::AssertionContext;

/// The tenant in which an application of this instance makes a token that is an assertion elsewhere, by
/// Microsoft.Identity.Web's rule: for an agent the tenant of the request, if that is in the same cloud. `None` is the
/// application's own.
pub fn inner_tenant(context: &AssertionContext, instance: &str) -> Option<String> {
    context.fmi_path.as_deref().filter(|path| !path.is_empty())?;
    tenant_of_endpoint(&context.token_endpoint, instance).or_else(|| {
        let same_cloud = host(&context.authority)? == host(instance)?;
        context.tenant_id.clone().filter(|tenant| same_cloud && !tenant.is_empty())
    })
}

/// The tenant of a token endpoint on the host of the instance: the first segment of a path that has a segment `oauth2`
/// behind it.
pub fn tenant_of_endpoint(token_endpoint: &str, instance: &str) -> Option<String> {
    let endpoint = Url::parse(token_endpoint).ok()?;
    if host(token_endpoint)? != host(instance)? {
        return None;
    }
    let mut segments = endpoint.path_segments()?;
    let tenant = segments.next().filter(|tenant| !tenant.is_empty())?;
    segments.any(|segment| segment.eq_ignore_ascii_case("oauth2")).then(|| tenant.to_owned())
}

fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTANCE: &str = "https://login.microsoftonline.com/";

    #[test]
    fn a_tenant_is_that_of_an_endpoint_on_the_same_host() {
        for (endpoint, instance, tenant) in [
            ("https://login.microsoftonline.com/t/oauth2/v2.0/token", INSTANCE, Some("t")),
            (
                "https://LOGIN.microsoftonline.com/t/oauth2/token",
                "https://login.microsoftonline.com",
                Some("t"),
            ),
            ("https://login.chinacloudapi.cn/t/oauth2/v2.0/token", INSTANCE, None),
            ("https://login.microsoftonline.com/t/oauth2/v2.0/token", "", None),
            ("https://login.microsoftonline.com/t/some-other-path", INSTANCE, None),
            ("https://login.microsoftonline.com/oauth2/v2.0/token", INSTANCE, None),
            ("https://login.microsoftonline.com/", INSTANCE, None),
            ("", INSTANCE, None),
        ] {
            assert_eq!(tenant_of_endpoint(endpoint, instance).as_deref(), tenant, "{endpoint}");
        }
    }

    #[test]
    fn only_an_agents_request_brings_its_tenant() {
        let mut context = AssertionContext::new("app", "https://mtlsauth.microsoft.com/t1/oauth2/v2.0/token");
        context.authority = "https://login.microsoftonline.com/t1/".to_owned();
        context.tenant_id = Some("t1".to_owned());
        assert_eq!(inner_tenant(&context, INSTANCE), None);
        context.fmi_path = Some("agent".to_owned());
        assert_eq!(inner_tenant(&context, INSTANCE).as_deref(), Some("t1"));
        assert_eq!(inner_tenant(&context, "https://login.microsoftonline.us/"), None);
        context.token_endpoint = "https://login.microsoftonline.com/t2/oauth2/v2.0/token".to_owned();
        assert_eq!(inner_tenant(&context, INSTANCE).as_deref(), Some("t2"));
    }
}
