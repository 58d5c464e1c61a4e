using System.CommandLine;
using Slipway.Contracts.Governance;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway verify</c>: is everything still as it was recorded?</summary>
internal static class VerifyCommand
{
    public static Command Create(ConnectionOptions connection)
    {
        var command = new Command("verify", "Recount the records: audit chain, the SHA-256 of every stored file, lineage of production versions. Exit code 1 when a line fails.");
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var report = await client.GetAsync<VerificationReport>("verify", ct);
            connection.Print(args, report, _ =>
            {
                // Plain lines: a digest broken over two lines cannot be searched for.
                var output = args.InvocationConfiguration.Output;
                foreach (var check in report.Checks)
                {
                    output.WriteLine($"{(check.Passed ? "pass" : "FAIL")}  {check.Name}  {check.Subject}  {check.Detail}");
                }

                output.WriteLine(
                    $"{report.Checks.Count(check => check.Passed)} of {report.Checks.Count} checks passed; {report.BlobsChecked} stored files, {report.BytesChecked:N0} bytes re-hashed.");
            });
            foreach (var check in report.Checks.Where(check => !check.Passed))
            {
                await args.InvocationConfiguration.Error.WriteLineAsync($"Failed: {check.Name} {check.Subject}: {check.Detail}");
            }

            return report.Passed ? ExitCode.Ok : ExitCode.FailedCheck;
        });
        return command;
    }
}
