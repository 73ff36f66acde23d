"""Acquires tokens with MSAL for Python from a cache that somebody else may have written.

The first line is that of `msal_flows.py`. Every other line is a job as there, with the cache that it begins with, and is
answered with the cache that it leaves:

    {"cache": "{…}", "client": {…}, "flow": "silent", "scopes": […]}
    {"cache": "{…}", "access_token": …, "token_source": "cache"}
"""

import pathlib
import sys

import msal

sys.path.insert(0, str(pathlib.Path(__file__).parent.with_name("differential")))

import msal_flows  # noqa: E402


class Jobs(msal_flows.Jobs):
    def run(self, job):
        cache = msal.SerializableTokenCache()
        cache.deserialize(job["cache"])
        self.client(job).token_cache = cache
        return {**super().run(job), "cache": cache.serialize()}


if __name__ == "__main__":
    msal_flows.Jobs = Jobs
    msal_flows.main()
