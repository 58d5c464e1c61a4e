using System.Diagnostics;
using System.Text.RegularExpressions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Slipway.Contracts;
using Slipway.Contracts.Identity;
using Slipway.Contracts.Registry;
using Slipway.Governance;
using Slipway.Governance.ModelPages;
using Slipway.Identity;
using Slipway.Serving.Deployments;
using Slipway.Storage;
using Slipway.Tests.Serving;

namespace Slipway.Tests.Governance;

[Trait("capability", "REG-25"), Trait("capability", "GOV-24")]
public sealed class ModelPagesTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("slipway-pages-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_page_shows_where_the_versions_are_who_asked_for_what_and_the_way_back()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        var second = await server.RegisterAsync(0.7, 0.1);
        await server.Registry.SetAliasAsync(GovernedServer.Model, "champion", second.Version, GovernedServer.Ada, GovernedServer.Cancel);
        var first = Page(server);
        await server.DeployAsync(second);
        await server.Registry.RequestPromotionAsync(GovernedServer.Model, (await server.RegisterAsync(0.71, 0.2)).Version, Stage.Staging, "more trees | \"better\"", GovernedServer.Ada, GovernedServer.Cancel);

        var page = Page(server);

        Assert.Contains("there is none to go back to", first, StringComparison.Ordinal);
        Assert.Contains($"| In production | **{second.Version}** since ", page, StringComparison.Ordinal);
        Assert.Contains($"| {second.Version} | 2 | production | @champion |", page, StringComparison.Ordinal);
        Assert.Contains("If 1.0.1 fails, 1.0.0 takes over again", page, StringComparison.Ordinal);
        Assert.Matches(@"\| promotion-\d+ \| 1\.0\.2 \| staging \| ada \| .* \| pending \|  \| more trees \\\| ""better"" \|", page);
        Assert.Contains("| input | features | FP32 | rows × 2 |", page, StringComparison.Ordinal);
        Assert.Contains("| replaced | ada |", page, StringComparison.Ordinal);
        Assert.Equal(page, Page(server)); // It changes with the registry only, not with the time.
        Assert.Contains("There is no model 'none'", Assert.Throws<SlipwayException>(() => server.Get<ModelPageComposer>().Page("none", "http://x")).Message, StringComparison.Ordinal);
    }

    [Fact, Trait("capability", "OPS-03"), Trait("capability", "CIC-07")]
    public async Task Every_command_of_the_runbook_runs_as_it_stands_and_does_what_it_says()
    {
        await using var server = await GovernedServer.StartWithModelAsync();
        var approver = (await server.Get<UserStore>().CreateAsync("hopper", Role.Approver, Caller.System("test"), GovernedServer.Cancel)).Token;
        await server.RegisterAsync(0.7, 0.1);
        foreach (var stage in new[] { "staging", "production" })
        {
            Assert.Equal(1, (await RunAsync(server, $"Promote 1.0.1 to {stage}: what is missing")).Code);
            Assert.Contains("promotion-", (await RunAsync(server, $"Promote 1.0.1 to {stage}: ask", code: 0)).Output, StringComparison.Ordinal);
            Assert.Contains("Approved", (await RunAsync(server, $"Promote 1.0.1 to {stage}: approve", approver, 0)).Output, StringComparison.Ordinal);
            Assert.Equal(0, (await RunAsync(server, $"Promote 1.0.1 to {stage}: what is missing")).Code);
            Assert.Contains("1.0.1 is now in", (await RunAsync(server, $"Promote 1.0.1 to {stage}: carry out", code: 0)).Output, StringComparison.Ordinal);
        }

        await ServingHost.UntilAsync(() => server.Get<DeploymentStore>().ListOpen().Any(row => row.Version == "1.0.1"));
        Assert.Contains("\"probability\"", (await RunAsync(server, "Smoke prediction", code: 0)).Output, StringComparison.Ordinal);
        Assert.Contains("\"probability\"", (await RunAsync(server, "Smoke prediction", (await server.Get<UserStore>().CreateAsync("app", Role.Service, Caller.System("test"), GovernedServer.Cancel)).Token, 0)).Output, StringComparison.Ordinal);
        Assert.Contains("checks passed", (await RunAsync(server, "Verify", code: 0)).Output, StringComparison.Ordinal);
        Assert.Contains("1.0.0 is in Production again", (await RunAsync(server, "Roll back", code: 0)).Output, StringComparison.Ordinal);
        Assert.Equal("1.0.0", server.Registry.FindInStage(GovernedServer.Model, Stage.Production)!.Version);
    }

    [Fact]
    public async Task The_folder_follows_the_registry_and_the_git_checkout_gets_a_commit_for_each_change()
    {
        var pages = Path.Combine(_folder, "docs", "models");
        Git("init", "--quiet");
        await File.WriteAllTextAsync(Path.Combine(_folder, "other.txt"), "not mine", GovernedServer.Cancel);
        Git("add", "other.txt");
        Directory.CreateDirectory(pages);
        await File.WriteAllTextAsync(Path.Combine(pages, "gone.md"), $"{PageFolder.Mark}\n# gone\n\nOld.\n", GovernedServer.Cancel);
        await File.WriteAllTextAsync(Path.Combine(pages, "notes.md"), "# By hand\n\nKept.\n", GovernedServer.Cancel);
        await File.WriteAllTextAsync(Path.Combine(_folder, ".git", "hooks", "pre-commit"), "#!/bin/sh\nexit 1\n", GovernedServer.Cancel);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(Path.Combine(_folder, ".git", "hooks", "pre-commit"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        await File.WriteAllTextAsync(Path.Combine(_folder, ".git", "index.lock"), "", GovernedServer.Cancel);
        await using var server = await GovernedServer.StartWithModelAsync(services => services.Replace(
            ServiceDescriptor.Singleton(new GovernanceOptions { PagesDirectory = pages, CommitPages = true, PublicAddress = "https://slipway.example.org/" })));
        string Content(string file) => File.Exists(Path.Combine(pages, file)) ? File.ReadAllText(Path.Combine(pages, file)) : "";

        // While somebody else's git is at work the pages are written and not committed; afterwards they are.
        await ServingHost.UntilAsync(() => Content("tips.md").Contains("| In production | **1.0.0**", StringComparison.Ordinal) && Content("index.md").Length > 0);
        Assert.Contains("?? docs/models/tips.md", Git("status", "--short", "--untracked-files=all"), StringComparison.Ordinal);
        File.Delete(Path.Combine(_folder, ".git", "index.lock"));
        await ServingHost.UntilAsync(() => !Git("status", "--short", "--untracked-files=all").Contains("tips.md", StringComparison.Ordinal));
        Assert.Equal("docs/models/gone.md\ndocs/models/index.md\ndocs/models/tips.md", Git("show", "--format=", "--name-only", "HEAD"));
        await server.Registry.SetAliasAsync(GovernedServer.Model, "champion", "1.0.0", GovernedServer.Ada, GovernedServer.Cancel);
        await ServingHost.UntilAsync(() => Content("tips.md").Contains("@champion", StringComparison.Ordinal) && Git("log", "--format=%s", "-1").Contains("alias_set", StringComparison.Ordinal));

        Assert.Equal("Model page of tips: model_version.alias_set by ada", Git("log", "--format=%s", "-1"));
        Assert.Equal("docs/models/tips.md", Git("show", "--format=", "--name-only", "HEAD"));
        Assert.Equal("Slipway <slipway@localhost>", Git("log", "--format=%an <%ae>", "-1"));
        Assert.Equal("A  other.txt\n?? docs/models/notes.md", Git("status", "--short"));
        Assert.Contains("slipway --server https://slipway.example.org verify", Content("tips.md"), StringComparison.Ordinal);
        Assert.Contains("> **Removed**", Content("gone.md"), StringComparison.Ordinal);
        Assert.EndsWith("\n\nOld.\n", Content("gone.md"), StringComparison.Ordinal);
        Assert.Equal("# By hand\n\nKept.\n", Content("notes.md"));
        Assert.Contains("[tips](tips.md)", Content("index.md"), StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFiles(pages, "*.part"));
    }

    [Fact]
    public void A_page_is_written_only_when_it_is_another_and_a_file_of_others_never()
    {
        var folder = new PageFolder(_folder);
        Assert.True(folder.Write("a.md", $"{PageFolder.Mark}\n# a\n\n1\n"));
        var written = File.GetLastWriteTimeUtc(Path.Combine(_folder, "a.md"));
        Assert.False(folder.Write("a.md", $"{PageFolder.Mark}\n# a\n\n1\n"));
        Assert.Equal(written, File.GetLastWriteTimeUtc(Path.Combine(_folder, "a.md")));
        Assert.True(folder.Write("a.md", $"{PageFolder.Mark}\n# a\n\n2\n"));
        File.WriteAllText(Path.Combine(_folder, "b.md"), "mine");

        var error = Assert.Throws<SlipwayException>(() => folder.Write("b.md", "x"));

        Assert.Contains("is not a page of the registry", error.Message, StringComparison.Ordinal);
        Assert.Equal("mine", File.ReadAllText(Path.Combine(_folder, "b.md")));
        Assert.Equal(["a.md"], folder.MarkRemoved([]));
        Assert.Empty(folder.MarkRemoved([]));
        Assert.True(folder.Write("a.md", $"{PageFolder.Mark}\n# a\n\n2\n")); // The model is back.
        Assert.Equal(2, Directory.EnumerateFiles(_folder).Count());
    }

    [Theory]
    [InlineData("flight-delay", "flight-delay.md")]
    [InlineData("a.b_c", "a.b_c.md")]
    [InlineData("index", "%69ndex.md")]
    [InlineData("INDEX", "%49NDEX.md")]
    [InlineData("../x", "%2E.%2Fx.md")]
    [InlineData(".hidden", "%2Ehidden.md")]
    [InlineData("Größe", "Gr%C3%B6%C3%9Fe.md")]
    public void A_model_s_file_stays_in_the_folder_whatever_the_model_is_called(string model, string file)
    {
        Assert.Equal(file, PageFolder.FileOf(model));
        Assert.Equal(file, Path.GetFileName(file));
    }

    [Fact]
    public async Task The_command_writes_all_pages_or_one_and_then_says_that_they_are_up_to_date()
    {
        await using var server = await GovernedServer.StartWithModelAsync();

        var (one, _) = await CommandLine.RunAsync(server, "registry", "docs", "--out", _folder, "--model", GovernedServer.Model);
        Assert.Equal(["tips.md"], Directory.EnumerateFiles(_folder).Select(Path.GetFileName));
        var (all, written) = await CommandLine.RunAsync(server, "registry", "docs", "--out", _folder);
        var (again, same) = await CommandLine.RunAsync(server, "registry", "docs", "--out", _folder);

        Assert.Equal((0, 0, 0), (one, all, again));
        Assert.Contains("index.md", written, StringComparison.Ordinal);
        Assert.Contains("is up to date", same, StringComparison.Ordinal);
        Assert.Contains($"slipway --server {server.Address.ToString().TrimEnd('/')} verify", await File.ReadAllTextAsync(Path.Combine(_folder, "tips.md"), GovernedServer.Cancel), StringComparison.Ordinal);
        await Assert.ThrowsAsync<SlipwayException>(() => CommandLine.RunAsync(server, "registry", "docs", "--out", _folder, "--model", "none"));
    }

    private static string Page(GovernedServer server) => server.Get<ModelPageComposer>().Page(GovernedServer.Model, server.Address.ToString().TrimEnd('/'));

    // The page of now, and the command under a heading, given to a shell as it stands.
    private static async Task<(int Code, string Output)> RunAsync(GovernedServer server, string title, string? token = null, int? code = null)
    {
        var command = Regex.Match(Page(server), $@"^### {Regex.Escape(title)}\n\n[^`]*```sh\n([^`]*)\n```", RegexOptions.Multiline);
        Assert.True(command.Success, $"The page has no command '{title}'.");
        var start = new ProcessStartInfo("bash", ["-c", command.Groups[1].Value]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Path.GetTempPath() };
        start.Environment["PATH"] = $"{Path.Combine(Repository.Root, "artifacts", "bin", "Slipway.Cli", "release")}:{Environment.GetEnvironmentVariable("PATH")}";
        start.Environment["SLIPWAY_TOKEN"] = token;
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(GovernedServer.Cancel), process.StandardError.ReadToEndAsync(GovernedServer.Cancel));
        await process.WaitForExitAsync(GovernedServer.Cancel);
        Assert.True(code is null || code == process.ExitCode, $"{command.Groups[1].Value}: {process.ExitCode} {await output} {await error}");
        return (process.ExitCode, await output);
    }

    private string Git(params string[] arguments)
    {
        // Without the locks that a mere question takes: the server's commit would find them.
        using var process = Process.Start(new ProcessStartInfo("git", ["--no-optional-locks", .. arguments]) { WorkingDirectory = _folder, RedirectStandardOutput = true, RedirectStandardError = true })!;
        var output = process.StandardOutput.ReadToEnd().Trim();
        process.WaitForExit();
        return output;
    }
}
