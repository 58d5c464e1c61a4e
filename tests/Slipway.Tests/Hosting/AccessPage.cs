using System.Text;
using Microsoft.AspNetCore.Routing;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Identity;
using Slipway.Identity.Grants;
using Slipway.Identity.Sessions;
using Slipway.Web.Http.Access;

namespace Slipway.Tests.Hosting;

/// <summary>Writes <c>docs/reference/access.md</c> from the table of roles and the routes, so that the page cannot be wrong about them.</summary>
internal static class AccessPage
{
    private const string Permissions =
        """
        # Access

        Written from the roles and the routes by a test. How to make users and keys: [manage users](../how-to/manage-users.md);
        how to use your organisation's accounts: [sign in with OpenID Connect](../how-to/sign-in-with-openid-connect.md).

        ## Permissions

        | permission | what it is for |
        |---|---|
        | `read` | see records and pages |
        | `predict` | send requests to a served model, and labels for its predictions |
        | `write` | create and change runs, datasets, features, pipelines and versions; ask for a promotion |
        | `operate` | change what runs: carry out a promotion, deploy, roll out, roll back, set policies, operate monitors |
        | `approve` | approve or reject a promotion |
        | `audit` | read the audit trail as a whole, with its reports and exports |
        | `admin` | manage users, keys and grants of others |

        ## Roles

        A user has one role, and any number of groups. A group says on whose behalf its members approve, and can be given grants.

        """;

    private const string Grants =
        """

        `engineer` and `admin`, the names of before, are understood as `ml_engineer` and `administrator`.

        A service account holds `read` and `predict`. An administrator can make a key for it with `write`, `operate` or `audit` as well,
        best limited to the models, experiments and environments it is for; the key holds them, not the account.

        ## Grants

        A grant gives a user or a group one of MLflow's permissions on one model or experiment, or on all (`*`), perhaps in one environment
        only. On what it names it takes the place of the role's permissions, upwards and downwards:

        | grant | allows |
        |---|---|
        | `NO_PERMISSIONS` | nothing; listings leave it out |
        | `READ` | `read` |
        | `USE` | `read`, `predict` |
        | `EDIT` | `read`, `predict`, `write`, but no deleting |
        | `MANAGE` | `read`, `predict`, `write` with deleting, `operate`, and giving grants on it to others |

        - Of several that apply, an exact name comes before `*`, one for the environment before one for all, the user's own before a group's;
          among those of groups the widest counts.
        - An environment is a stage, such as `staging` or `production`. It matters where a request changes what runs there: asking for,
          deciding on and carrying out a promotion, also one that takes a version out of production, rolling out, rolling back, and
          applying policies and rollouts.
        - A version made from a run, logged model or other version needs `read` on what its files come from.
        - Approving and reading the audit trail need the role as well: a grant alone makes nobody an approver.
        - Administrators may do everything and auditors see everything, whatever grants say; auditors change nothing.
        - What belongs to a model or experiment follows it: versions, deployments, rollouts, monitors, alerts and pipelines a model; runs,
          files, traces, assessments, logged models and evaluation datasets an experiment.
        - Who creates an experiment or a model gets no grant by that (MLflow gives MANAGE); the role decides.
        - Grants reach datasets, features and documents only as far as the role does: they are not granted one by one.

        ## Limits of API keys

        A key may be limited to permissions, models, experiments and environments, and may expire. It never allows more than its user may,
        but for service accounts as said above. A key that names models or experiments changes only these, and reads of the same kind only
        these; a key that names environments changes what runs in these alone. A limited key makes no other keys, changes no password and
        signs no browser in.

        ## Who is calling

        | credentials | how |
        |---|---|
        | API key | `Authorization: Bearer slw_…`, `SLIPWAY_TOKEN`, `MLFLOW_TRACKING_TOKEN`; or as the password of HTTP Basic with any name |
        | name and password | HTTP Basic; `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD` |
        | token of the OpenID provider | `Authorization: Bearer …`, when the server has `--oidc-audience` |
        | session of a browser | signing in at `/sign-in` by password, key, one-time link or OpenID provider |
        | none, on the server's own machine | acts as `local`, an administrator who can never approve, unless the server has `--require-login true` |

        The last is so only on a server that listens on a loopback address and has no `--public-url` elsewhere (unless it is told
        `--require-login false`), and never for a request that a proxy passes on (`X-Forwarded-For`, `Forwarded`, `X-Real-IP`). A proxy
        that sends none of these, before a server without a `--public-url`, makes all its users `local`: set one of the two. A server that listens on any other address does not start with
        `--require-login false`, nor when no administrator could sign in.

        - Passwords have 8 to 128 characters and are none of the 3,000 most used. They are kept as PBKDF2-HMAC-SHA-512 with 210,000 rounds
          and a salt each; keys, session ids and links, 256 random bits each, as SHA-256.
        - After five wrong passwords for a user or from an address the next is looked at after 1, 2, 4, … seconds: at most a minute for a
          user, a quarter of an hour for an address. Until then the answer is 429 with `Retry-After`. Keys and sessions go on working.

        """;

    private const string Mlflow =
        """

        ## MLflow's users and permissions

        `mlflow.server.get_app_client("basic-auth", …)` and the paths `/api/2.0/mlflow/users/…`, `experiments/permissions/…` and
        `registered-models/permissions/…` work. A user with `is_admin` is an administrator; others become data scientists, who may do by
        their role what MLflow's users may by default, and may also change what others made. Where MLflow's default permission `READ` is
        wanted, give the user the role `viewer` and grants. A deleted user's name is not given again. Names hold `a-z 0-9 . _ @ -`.

        ## What grants do not reach yet

        - A caller from whom some models or experiments are kept is refused, not shown less, where a page or route shows everything at once:
          those that say "shows all" below.
        - `runs/search` and its like, asked for an experiment that is closed to the caller, are refused as a whole.
        - Applying definition files takes `write` by the role, and then what the file's model or experiment asks for; a key that names
          models or experiments applies none.
        - Lineage, comparisons and versions of a model name the runs and datasets behind it, also those of an experiment that is closed.
        - A stored blob is given to whoever may write and knows its SHA-256.

        """;

    public static string Write(IEnumerable<Microsoft.AspNetCore.Http.Endpoint> endpoints, RouteTargets targets)
    {
        var page = new StringBuilder(Permissions).AppendLine();
        var permissions = Enum.GetValues<Permission>().Where(permission => permission is not Permission.None).ToList();
        page.Append("| role |").AppendJoin("", permissions.Select(permission => $" `{Name(permission)}` |")).AppendLine();
        page.Append("|---|").AppendJoin("", permissions.Select(_ => "---|")).AppendLine();
        foreach (var role in Enum.GetValues<Role>())
        {
            page.Append($"| `{Roles.Name(role)}` |").AppendJoin("", permissions.Select(permission =>
                Roles.Allows(role, permission) ? " yes |" : role is Role.Service && Roles.ServiceKeyMayAdd(permission) ? " by key |" : " |")).AppendLine();
        }

        page.Append(Grants);
        page.AppendLine($"- A session ends {SessionStore.IdleMax.TotalHours:0} hours after its last request and {SessionStore.LifeMax.TotalDays:0} days after its beginning; at once when the user signs out, is");
        page.AppendLine("  disabled or deleted, or gets another password. A change asked for by a signed-in browser must come from this server's own pages.");
        page.AppendLine($"- A grant's levels are {string.Join(", ", Enum.GetValues<GrantLevel>().Select(level => $"`{GrantStore.LevelName(level)}`"))}, each holding the one before it.");
        page.Append(Mlflow);

        // Of two at one path the built one answers, not the one that says it is not built.
        var routes = endpoints.OfType<RouteEndpoint>().OrderBy(route => route.Order).Where(route => !route.RoutePattern.RawText!.StartsWith("/ajax-api", StringComparison.Ordinal)).Select(route => (
            Methods: string.Join(", ", route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods), Path: "/" + route.RoutePattern.RawText!.Trim('/'),
            route.Metadata.GetMetadata<RequiredAccess>()!.Permission, About: targets.Of(route)?.Says ?? "")).DistinctBy(route => (route.Path, route.Methods))
            .OrderBy(route => route.Path, StringComparer.Ordinal).ThenBy(route => route.Methods, StringComparer.Ordinal).ToList();
        var open = routes.Where(route => route.Permission is Permission.None).ToList();
        page.AppendLine($"## Open routes: {open.Count} of {routes.Count}").AppendLine();
        page.AppendLine("Every route says who may call it; one that does not answers 403. These say: anyone.").AppendLine();
        foreach (var (methods, path, _, _) in open)
        {
            page.AppendLine($"- {methods} `{path}`");
        }

        page.AppendLine().AppendLine("## All other routes").AppendLine();
        page.AppendLine("Every `/api/2.0/mlflow…` and `/api/3.0/mlflow…` route answers under `/ajax-api/…` too, with the same verdict.").AppendLine();
        page.AppendLine("| method | path | permission | which model or experiment it is about |").AppendLine("|---|---|---|---|");
        foreach (var (methods, path, permission, about) in routes.Where(route => route.Permission is not Permission.None))
        {
            page.AppendLine($"| {methods} | `{path}` | `{Name(permission)}` | {about} |");
        }

        return page.Replace("\r\n", "\n").ToString();
    }

    private static string Name(Permission permission) => permission.ToString().ToLowerInvariant();
}
