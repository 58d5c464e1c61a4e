using System.CommandLine;
using Slipway.Cli;
using Slipway.Cli.Commands;

namespace Slipway.Tests.Governance;

/// <summary>The command line in this process, against a server.</summary>
internal static class CommandLine
{
    public static async Task<(int Code, string Output)> RunAsync(GovernedServer server, params string[] arguments)
    {
        var root = new RootCommand();
        var connection = new ConnectionOptions();
        connection.AddTo(root);
        root.Add(AuditCommand.Create(connection));
        root.Add(RegistryCommand.Create(connection));
        using var output = new StringWriter();
        var code = await root.Parse([.. arguments, "--server", server.Address.ToString()])
            .InvokeAsync(new InvocationConfiguration { Output = output, EnableDefaultExceptionHandler = false }, GovernedServer.Cancel);
        return (code, output.ToString());
    }
}
