"""The playground: two samples mixed by any method, looked at; as an app in the browser, and as a page of the site."""
