using System.CommandLine;
using System.Globalization;
using Slipway.Contracts;
using Slipway.Contracts.Audit;
using Slipway.Contracts.Host;
using Slipway.Web;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway audit …</c>: who did what, and can it be proven?</summary>
internal static class AuditCommand
{
    public static Command Create(ConnectionOptions connection) => new("audit", "Who did what, when and why, and the proof of it.")
    {
        List(connection), Verify(connection), Report(connection), Checkpoint(connection), Key(connection), Findings(connection),
    };

    private static Command List(ConnectionOptions connection)
    {
        (string Field, Option<string?> Option)[] filters =
        [
            ("actor", new Option<string?>("--actor") { Description = "Who." }),
            ("action", new Option<string?>("--action") { Description = "Did what: promotion.approved, or promotion. for all that begin so." }),
            ("subject", new Option<string?>("--subject") { Description = "To which thing: kind:id, such as model_version:flight-delay@1.0.0." }),
            ("model", new Option<string?>("--model") { Description = "About this model, its versions or its policy." }),
            ("from", new Option<string?>("--from") { Description = "Not before: a date or an instant." }),
            ("to", new Option<string?>("--to") { Description = "Before: an instant, or the end of a date." }),
            ("cursor", new Option<string?>("--cursor") { Description = "Where the page before ended." }),
        ];
        var limit = new Option<int>("--limit") { Description = "Rows, at most 1000.", DefaultValueFactory = _ => 50 };
        var command = new Command("list", "List audit rows, newest first.") { limit };
        foreach (var (_, option) in filters)
        {
            command.Add(option);
        }

        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var query = filters.Where(filter => args.GetValue(filter.Option) is not null)
                .Select(filter => $"{filter.Field}={Uri.EscapeDataString(args.GetValue(filter.Option)!)}").Append($"limit={args.GetValue(limit).ToString(CultureInfo.InvariantCulture)}");
            var page = await client.GetAsync<Page<AuditEventResponse>>($"audit?{string.Join('&', query)}", ct);
            return connection.Print(args, page, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("#", "When", "Who", "Did", "To", "Reason");
                foreach (var row in page.Items)
                {
                    table.AddRow($"{row.Seq}", RegistryCommand.Time(row.At), Markup.Escape(row.Actor), Markup.Escape(row.Action), Markup.Escape(row.Subject), Markup.Escape(row.Reason ?? ""));
                }

                console.Write(table);
                if (page.NextCursor is { } next)
                {
                    console.WriteLine($"Older rows: --cursor {next}");
                }
            });
        });
        return command;
    }

    private static Command Verify(ConnectionOptions connection)
    {
        var checkpoints = new Option<FileInfo?>("--checkpoints") { Description = "A copy of audit-checkpoints.jsonl that you kept; with --data, that folder's file when left out." };
        var keys = new Option<string[]>("--public-key") { Description = "Only checkpoints of this key, and of keys it vouches for, count: a PEM file, or base64; repeat for more." };
        var data = new Option<string?>("--data") { Description = "Read the database of this data folder, without its server." };
        var database = new Option<string?>("--database") { Description = "Read this database (a path, sqlite:// or postgresql://), without its server." };
        var backup = new Option<FileInfo?>("--backup") { Description = "Read a backup that slipway db backup has written." };
        var report = new Option<FileInfo?>("--report") { Description = "Check the seal of a report that slipway audit report has written, instead of the trail." };
        var command = new Command("verify", "Recount the audit trail and name the first bad row. Exit code 1 when it does not hold. Without --data, --database or --backup the server does it.")
        {
            checkpoints, keys, data, database, backup, report,
        };
        command.SetAction(async (args, ct) =>
        {
            var trusted = (args.GetValue(keys) ?? []).Select(key => File.Exists(key) ? File.ReadAllText(key) : key).ToList();
            if (args.GetValue(report) is { } sealedFile)
            {
                return await CheckReportAsync(connection, args, await File.ReadAllTextAsync(sealedFile.FullName, ct), trusted, ct);
            }

            var lines = args.GetValue(checkpoints) is { } file ? await File.ReadAllLinesAsync(file.FullName, ct) : null;
            var offline = args.GetValue(data) is not null || args.GetValue(database) is not null || args.GetValue(backup) is not null;
            var started = System.Diagnostics.Stopwatch.StartNew();
            var found = await WithProgressAsync(progress => offline
                ? Task.Run(() => ServerAudit.Verify(args.GetValue(data), args.GetValue(database), args.GetValue(backup)?.FullName, lines, trusted, progress, ct), ct)
                : OnlineAsync(connection, args, new VerifyAudit(lines, trusted.Count > 0 ? trusted : null), progress, ct));
            return Print(connection, args, found, started.Elapsed);
        });
        return command;
    }

    private static async Task<AuditVerification> OnlineAsync(ConnectionOptions connection, ParseResult args, VerifyAudit request, Action<long, long> progress, CancellationToken ct)
    {
        using var client = connection.Connect(args);
        await foreach (var line in client.PostLinesAsync<AuditVerificationProgress>("audit/verify", request, ct))
        {
            progress(line.Done, line.Of);
            if (line.Result is { } result)
            {
                return result;
            }
        }

        throw new SlipwayException(ErrorCode.Unavailable, "The server ended its answer before the result; see its log, then try again.");
    }

    private static int Print(ConnectionOptions connection, ParseResult args, AuditVerification found, TimeSpan took)
    {
        _ = connection.Print(args, found, _ =>
        {
            // Plain lines: a hash broken over two lines cannot be searched for.
            var output = args.InvocationConfiguration.Output;
            output.WriteLine(found.BrokenAtSeq is { } seq ? $"FAIL  row {seq}: {found.Reason}" : $"pass  {found.Events} rows form one chain");
            foreach (var fault in found.CheckpointFaults)
            {
                output.WriteLine($"FAIL  {fault}");
            }

            output.WriteLine(found.LastCheckpoint is { } last
                ? $"{(found.Passed ? "pass" : "info")}  {found.CheckpointsHeld} signed checkpoints agree, the last with row {last.Seq} at {RegistryCommand.Time(last.Time)} by key {last.KeyId}"
                : "info  no signed checkpoint was compared: whoever can write the database could have written the whole chain anew");
            if (found.CheckpointsOfOtherKeys > 0)
            {
                output.WriteLine($"info  {found.CheckpointsOfOtherKeys} checkpoints are signed by keys that were not named or are not on record, and were not counted");
            }

            if (found is { Passed: true, LastCheckpoint: not null, EventsAfterCheckpoint: > 0 })
            {
                output.WriteLine($"info  {found.EventsAfterCheckpoint} rows came after it and are covered by the chain alone");
            }

            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{found.Events} rows in {took.TotalSeconds:0.0} s."));
        });
        return found.Passed ? ExitCode.Ok : ExitCode.FailedCheck;
    }

    private static async Task<int> CheckReportAsync(ConnectionOptions connection, ParseResult args, string text, List<string> trusted, CancellationToken ct)
    {
        if (trusted.Count == 0)
        {
            using var client = connection.Connect(args);
            trusted = [.. (await client.GetAsync<AuditKeyList>("audit/key", ct)).Keys.Select(key => key.PublicKey)];
        }

        var (seal, fault) = ServerAudit.CheckReport(text, trusted);
        _ = connection.Print(args, new { seal, passed = fault is null, fault }, _ => args.InvocationConfiguration.Output.WriteLine(
            fault is null ? $"pass  the report is as it was signed by key {seal.KeyId}, at row {seal.Seq} of the trail ({seal.Hash})" : $"FAIL  {fault}"));
        return fault is null ? ExitCode.Ok : ExitCode.FailedCheck;
    }

    private static Command Report(ConnectionOptions connection)
    {
        var model = new Option<string>("--model") { Required = true, Description = "The model." };
        var from = new Option<string?>("--from") { Description = "Not before: a date or an instant." };
        var to = new Option<string?>("--to") { Description = "Before: an instant, or the end of a date." };
        var format = new Option<string>("--format") { Description = "json or markdown.", DefaultValueFactory = _ => "markdown" };
        format.AcceptOnlyFromAmong("json", "markdown");
        var target = new Option<FileInfo?>("--out") { Description = "Write it to this file." };
        var command = new Command("report", "Report what happened to a model: deployments, approvals, gates, compliance checkpoints, metrics, data. Signed.") { model, from, to, format, target };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            // As the server sent it: the seal is over its bytes.
            var chosen = connection.Json(args) ? "json" : args.GetRequiredValue(format);
            var report = await client.GetTextAsync(
                $"audit/report?model={Uri.EscapeDataString(args.GetRequiredValue(model))}&from={Uri.EscapeDataString(args.GetValue(from) ?? "")}&to={Uri.EscapeDataString(args.GetValue(to) ?? "")}&format={chosen}", ct);
            if (args.GetValue(target) is { } file)
            {
                await File.WriteAllTextAsync(file.FullName, report, ct);
                return ExitCode.Ok;
            }

            await args.InvocationConfiguration.Output.WriteAsync(report);
            return ExitCode.Ok;
        });
        return command;
    }

    private static Command Checkpoint(ConnectionOptions connection)
    {
        var command = new Command("checkpoint", "Sign a checkpoint of the audit trail now.");
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var made = await client.PostAsync<AuditCheckpoint>("audit/checkpoints", null, ct);
            return connection.Print(args, made, _ => args.InvocationConfiguration.Output.WriteLine($"Row {made.Seq}, hash {made.Hash}, signed at {RegistryCommand.Time(made.Time)} by key {made.KeyId}."));
        });
        return command;
    }

    private static Command Key(ConnectionOptions connection)
    {
        var rotate = new Option<bool>("--rotate") { Description = "Replace the key first; the old one vouches for the new one." };
        var reason = new Option<string?>("--reason") { Description = "Why; needed with --rotate." };
        var command = new Command("key", "Print the public key that checkpoints and reports are signed with, as PEM. Keep a copy away from the server.") { rotate, reason };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            if (args.GetValue(rotate))
            {
                _ = await client.PostAsync<AuditPublicKey>("audit/key/rotate",
                    new RotateAuditKey(args.GetValue(reason) ?? throw new SlipwayException(ErrorCode.InvalidArgument, "--rotate needs --reason.")), ct);
            }

            var keys = await client.GetAsync<AuditKeyList>("audit/key", ct);
            return connection.Print(args, keys, _ => args.InvocationConfiguration.Output.WriteLine(ServerAudit.Pem(keys.Current.PublicKey)));
        });
        return command;
    }

    private static Command Findings(ConnectionOptions connection)
    {
        var run = new Option<bool>("--run") { Description = "Look now instead of waiting for the schedule." };
        var command = new Command("findings", "List what the scheduled audit found about versions in production. Exit code 1 while any stands.") { run };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var findings = args.GetValue(run) ? await client.PostAsync<AuditFindingList>("audit/findings", null, ct) : await client.GetAsync<AuditFindingList>("audit/findings", ct);
            _ = connection.Print(args, findings, console =>
            {
                var table = new Table().Border(TableBorder.Rounded).AddColumns("Subject", "Check", "Found", "Since", "Gone");
                foreach (var finding in findings.Findings)
                {
                    table.AddRow(Markup.Escape(finding.Subject), Markup.Escape(finding.Check), Markup.Escape(finding.Detail), RegistryCommand.Time(finding.OpenedAt),
                        finding.ClosedAt is { } closed ? RegistryCommand.Time(closed) : "");
                }

                console.Write(table);
            });
            return findings.Findings.Any(finding => finding.ClosedAt is null) ? ExitCode.FailedCheck : ExitCode.Ok;
        });
        return command;
    }

    private static Task<AuditVerification> WithProgressAsync(Func<Action<long, long>, Task<AuditVerification>> work) =>
        ConnectionOptions.ProgressConsole.Progress().Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn()).StartAsync(progress =>
        {
            var task = progress.AddTask("Audit rows");
            return work((done, of) =>
            {
                task.MaxValue = Math.Max(of, 1);
                task.Value = Math.Min(done, task.MaxValue);
            });
        });
}
