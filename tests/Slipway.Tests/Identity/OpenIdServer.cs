using System.Diagnostics;
using System.Text.Json;
using Slipway.Tests.Hosting;

namespace Slipway.Tests.Identity;

/// <summary>A real OpenID provider (the npm package oidc-provider) on a loopback port.</summary>
internal sealed class OpenIdServer : IAsyncDisposable
{
    public const string ClientId = "slipway";
    public const string ClientSecret = "planted-openid-client-secret";
    public const string Audience = "https://slipway.test/api";

    private readonly object _accounts;
    private Process _process;

    private OpenIdServer(Process process, int port, object accounts) => (_process, Port, _accounts) = (process, port, accounts);

    public int Port { get; }

    public string Issuer => $"http://127.0.0.1:{Port}";

    public static async Task<OpenIdServer> StartAsync(object accounts)
    {
        var port = FreePort.Next();
        return new OpenIdServer(await RunAsync(port, accounts), port, accounts);
    }

    /// <summary>Ends it and starts it again with new keys.</summary>
    public async Task RotateKeysAsync()
    {
        Kill();
        await StartAgainAsync();
    }

    /// <summary>Starts it again after <see cref="Kill"/>.</summary>
    public async Task StartAgainAsync() => _process = await RunAsync(Port, _accounts);

    public void Kill()
    {
        _process.Kill(entireProcessTree: true);
        _process.WaitForExit();
        _process.Dispose();
    }

    public ValueTask DisposeAsync()
    {
        Kill();
        return ValueTask.CompletedTask;
    }

    private static async Task<Process> RunAsync(int port, object accounts)
    {
        var folder = Path.Combine(Repository.Root, "tests", "clients");
        Assert.SkipUnless(Directory.Exists(Path.Combine(folder, "node_modules", "oidc-provider")), "The OpenID provider is not fetched: run npm ci --ignore-scripts in tests/clients.");
        var process = Process.Start(new ProcessStartInfo("node", [Path.Combine(folder, "openid-provider.mjs"), $"{port}", JsonSerializer.Serialize(accounts)])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var fault = process.StandardError.ReadToEndAsync();
        string? line;
        do
        {
            line = await process.StandardOutput.ReadLineAsync();
            Assert.True(line is not null, $"The OpenID provider ended instead of listening: {(line is null ? await fault : "")}");
        }
        while (!line!.Contains("listening on ", StringComparison.Ordinal));
        _ = process.StandardOutput.ReadToEndAsync();
        return process;
    }
}
