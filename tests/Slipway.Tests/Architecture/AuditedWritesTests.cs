using System.Text.RegularExpressions;

namespace Slipway.Tests.Architecture;

/// <summary>
/// A change of state and its audit row are one transaction: every piece of code that is given to the database's writer either writes an audit
/// row, itself or through what it hands its transaction to, or stands in the list below with the reason why it changes no state.
/// </summary>
/// <remarks>Reads the sources. It sees that a piece can write the row, not that it does on every path: the tests of each area show that.</remarks>
public sealed partial class AuditedWritesTests
{
    /// <summary>File and method of each piece that writes no audit row, and why it need not.</summary>
    private static readonly Dictionary<string, string> Unaudited = new()
    {
        ["AuditCheckpoints.OpenKeyAsync"] = "The register of keys is itself append-only; a change of key is audited.",
        ["AuditCheckpoints.SignAsync"] = "A checkpoint is about the trail: a row for each would call for the next checkpoint.",
        ["IdentityDirectory.ChangeAsync"] = "Hands the transaction on; those who call it are looked at themselves.",
        ["IdentityKeeper.SaveAsync"] = "When keys and sessions were last used: seen, not changed.",
        ["Leases.TryAcquireAsync"] = "Leases say which server works now; what it does is audited.",
        ["Leases.ReleaseAsync"] = "Leases say which server works now; what it does is audited.",
        ["RolloutStore.KeepCountsAsync"] = "Counters are no decision: what is decided from them is audited, with the evidence.",
        ["WebhookDispatcher.WorkAsync"] = "A reader's place in the outbox, and the deliveries that its events call for.",
        ["WebhookStore.NoteAsync"] = "How a delivery to a webhook went; the webhook itself is audited.",
        ["SloStore.AddAsync"] = "Counts of requests by the minute, as telemetry; the alerts made of them are audited.",
        ["SloStore.ForgetAsync"] = "Counts that no window reaches any more.",
        ["ReviewStore.AddAsync"] = "Copies of logged predictions for people to look at; what they decide is audited.",
        ["Deployer.FollowAsync"] = "A reader's place in the outbox.",
        ["ModelRegistry.Models.WriteOwnAsync"] = "Hands the transaction on; those who call it are looked at themselves.",
        ["ExternalRegistry.Pull.PassAsync"] = "How far the mirror has looked; each change that it takes over is audited.",
        ["ExternalRegistry.Push.AcknowledgeAsync"] = "A reader's place in the outbox.",
        ["PipelineStore.FencedAsync"] = "Hands the transaction on; those who call it are looked at themselves.",
        ["PipelineStore.StageStartedAsync"] = "Progress of a run whose start, verdict and end are audited.",
        ["PipelineStore.StageRetriedAsync"] = "Progress of a run whose start, verdict and end are audited.",
        ["PipelineStore.StageEndedAsync"] = "Progress of a run whose start, verdict and end are audited.",
        ["PipelineStore.CountTestEvaluationAsync"] = "Counts looks at a test split.",
        ["RunStore.LogBatchAsync"] = "What a run writes about itself: metric points, parameters, tags.",
        ["RunStore.LogInputsAsync"] = "What a run writes about itself: the data it read.",
        ["RunStore.LogOutputsAsync"] = "What a run writes about itself: the models it made.",
        ["RunStore.SetEnvironmentAsync"] = "What a run writes about itself: where it is computed.",
        ["RunIntake.AddMetricsAsync"] = "What a run writes about itself: metric points.",
        ["RunModelHistory.AppendAsync"] = "What a run writes about itself: the models it made.",
        ["ArtifactStore.LinkAsync"] = "What a run writes about itself: files, named by their digest. Removing one is audited.",
        ["LoggedModelStore.LogParametersAsync"] = "What a run writes about a model it made; no parameter can be changed.",
        ["TraceStore.StateAsync"] = "Traces are telemetry; removing them is audited.",
        ["TraceStore.EndAsync"] = "Traces are telemetry; removing them is audited.",
        ["TraceStore.LogSpansAsync"] = "Traces are telemetry; removing them is audited.",
        ["TraceStore.UploadSpansAsync"] = "Traces are telemetry; removing them is audited.",
        ["TraceStore.SetTagAsync"] = "Traces are telemetry; removing a tag is audited.",
        ["TraceStore.LinkToRunAsync"] = "Traces are telemetry: which run they belong to.",
        ["AssessmentStore.CreateAsync"] = "Judgements of traces come by the thousand; changing or removing one is audited.",
    };

    private static readonly List<Write> Writes = FindWrites();

    [Fact, Trait("capability", "GOV-01")]
    public void Every_write_leaves_an_audit_row_in_its_transaction_or_stands_in_the_list_with_a_reason()
    {
        Assert.True(Writes.Count > 60, $"Only {Writes.Count} writes were found: the search has gone blind.");
        var silent = Writes.Where(write => !write.Audited && !Unaudited.ContainsKey(write.Place)).Select(write => write.Place).Distinct();

        Assert.True(!silent.Any(), string.Join("\n", silent));
    }

    [Fact]
    public void Every_exception_is_still_there_and_still_writes_none()
    {
        var silent = Writes.Where(write => !write.Audited).Select(write => write.Place).ToHashSet();

        Assert.All(Unaudited.Keys, place => Assert.Contains(place, silent));
        Assert.All(Unaudited.Values, reason => Assert.True(reason.Length > 20, reason));
    }

    private static List<Write> FindWrites()
    {
        var sources = Directory.EnumerateDirectories(Path.Combine(Repository.Root, "src")).SelectMany(folder => Repository.Sources(Path.GetFileName(folder)))
            .Where(file => file.EndsWith(".cs", StringComparison.Ordinal)).Select(file => (Type: Path.GetFileNameWithoutExtension(file), Text: File.ReadAllText(file))).ToList();
        var bodies = sources.SelectMany(source => TakesTransaction().Matches(source.Text).Select(match => (
            Name: $"{source.Type}.{match.Groups[1].Value}", Body: Body(source.Text, match.Index + match.Length)))).ToLookup(method => method.Name, method => method.Body);
        return
        [
            .. from source in sources
               from call in WriterCall().Matches(source.Text)
               let work = Balanced(source.Text, call.Index + call.Length - 1)
               where work.Contains("=>", StringComparison.Ordinal) // Not the declaration of the writer itself.
               select new Write($"{source.Type}.{MethodAround(source.Text, call.Index)}", Audits(source.Type, work, bodies, [])),
        ];
    }

    // Follows the transaction into every method that it is handed to: of the same file, or of the type that is named.
    private static bool Audits(string type, string work, ILookup<string, string> bodies, HashSet<string> seen) =>
        AuditCall().IsMatch(work)
        || HandedOn().Matches(work).Select(match => (Type: match.Groups[1].Success ? match.Groups[1].Value : type, Method: match.Groups[2].Value))
            .Any(call => seen.Add($"{call.Type}.{call.Method}") && bodies[$"{call.Type}.{call.Method}"].Any(body => Audits(call.Type, body, bodies, seen)));

    // From the parameter list on: up to the closing brace, or to the semicolon of an expression.
    private static string Body(string text, int from)
    {
        var (brace, arrow) = (text.IndexOf('{', from), text.IndexOf("=>", from, StringComparison.Ordinal));
        return arrow >= 0 && (brace < 0 || arrow < brace) ? Expression(text, arrow) : Balanced(text, brace);
    }

    private static string Expression(string text, int from)
    {
        for (var (i, depth) = (from, 0); i < text.Length; i++)
        {
            depth += text[i] is '(' or '{' or '[' ? 1 : text[i] is ')' or '}' or ']' ? -1 : 0;
            if (depth == 0 && text[i] == ';')
            {
                return text[from..i];
            }
        }

        return text[from..];
    }

    private static string Balanced(string text, int open)
    {
        for (var (i, depth) = (open, 0); i < text.Length; i++)
        {
            depth += text[i] is '(' or '{' or '[' ? 1 : text[i] is ')' or '}' or ']' ? -1 : 0;
            if (depth == 0)
            {
                return text[open..i];
            }
        }

        return text[open..];
    }

    private static string MethodAround(string text, int at) => MethodHead().Matches(text[..at])[^1].Groups[1].Value;

    private sealed record Write(string Place, bool Audited);

    [GeneratedRegex(@"(?:\b_?database\s*\.WriteAsync|\bdirectory\s*\.ChangeAsync|(?<!Task )\b(?:FencedAsync|WriteOwnAsync))(?:<\w+>)?\(")]
    private static partial Regex WriterCall();

    [GeneratedRegex(@"\btransaction\.Audit\(|\bAuditTrail\.Append\(")]
    private static partial Regex AuditCall();

    // Insert(transaction, …), DefinitionStore.Put(transaction, …)
    [GeneratedRegex(@"(?:\b([A-Z]\w+)\.)?\b(\w+)\(transaction\b(?!\.)")]
    private static partial Regex HandedOn();

    [GeneratedRegex(@"(\w+)\(\s*(?:this )?WriteTransaction transaction\b[^)]*\)")]
    private static partial Regex TakesTransaction();

    [GeneratedRegex(@"^    (?:public|internal|private|protected)[^=;{\n]*?\b(\w+)(?:<[^>\n]*>)?\(", RegexOptions.Multiline)]
    private static partial Regex MethodHead();
}
