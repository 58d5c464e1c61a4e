using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Slipway.Contracts;
using Slipway.Contracts.Governance;
using Slipway.Governance.Evidence;

namespace Slipway.Governance.Documents;

/// <summary>Builds the body of a document. Facts come only from the evidence resolver, and each brings its mark along.</summary>
internal sealed partial class DocumentWriter(EvidenceResolver resolver, IReadOnlyDictionary<string, string> supplied, CancellationToken cancellationToken)
{
    // Readings that move with the traffic stand between these until the end, so that the fingerprint of the facts can leave them out.
    private const char MovingStart = '\u0001';
    private const char MovingEnd = '\u0002';

    private readonly StringBuilder _body = new();
    private readonly List<EvidenceItem> _evidence = [];

    /// <summary>Evidence in the order of first use; E1 is the first.</summary>
    public IReadOnlyList<EvidenceItem> Evidence => _evidence;

    /// <summary>The body as readers see it.</summary>
    public string Body => Moving().Replace(_body.ToString(), match => match.Groups[1].Value);

    /// <summary>SHA-256 of the body without moving readings: equal when no fact has changed.</summary>
    public string FactsSha256 => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Moving().Replace(_body.ToString(), ""))));

    public void Heading(int level, string text) => _body.Append('#', level).Append(' ').AppendLine(text).AppendLine();

    public void Paragraph(string text) => _body.AppendLine(text).AppendLine();

    public void Table(IReadOnlyList<string> header, IEnumerable<IReadOnlyList<string>> rows)
    {
        Row(header);
        Row([.. header.Select(_ => "---")]);
        foreach (var row in rows)
        {
            Row(row);
        }

        _body.AppendLine();
    }

    /// <summary>The value with its mark, such as <c>0.6612 [E12]</c>; absent facts say what to do.</summary>
    public async Task<string> FactAsync(string query, string whatToDo)
    {
        var index = _evidence.FindIndex(known => known.Query == query);
        if (index < 0)
        {
            index = _evidence.Count;
            _evidence.Add(await AskAsync(query));
        }

        var item = _evidence[index];
        var value = item.Value is { } found ? Markdown.Text(found) : $"not recorded: {whatToDo}";
        return item.Moving ? $"{MovingStart}{value}{MovingEnd} [E{index + 1}]" : $"{value} [E{index + 1}]";
    }

    /// <summary>The mark of evidence gathered elsewhere, under the name of the route that gives it again.</summary>
    public string Cite(string query, IReadOnlyList<string> versions)
    {
        _evidence.Add(new EvidenceItem(query, "", [.. versions.Select(version => $"model_version:{version}")], DateTimeOffset.UnixEpoch, Moving: false));
        return $"[E{_evidence.Count}]";
    }

    /// <summary>Text that only people can give; without it the reader sees what is wanted and how to supply it.</summary>
    public string Human(string key, string wanted) => supplied.TryGetValue(key, out var text)
        ? $"{Markdown.Text(text)} (supplied text)"
        : $"*To be supplied: {wanted}. Give it with --text {key}=… when generating.*";

    /// <summary>Two-column table of a name and a fact or text.</summary>
    public void Facts(params IReadOnlyList<(string Name, string Value)> rows) => Table(["Item", "Fact"], rows.Select(row => (IReadOnlyList<string>)[row.Name, row.Value]));

    private async Task<EvidenceItem> AskAsync(string query)
    {
        try
        {
            return await resolver.AskAsync(query, cancellationToken);
        }
        catch (SlipwayException e) when (e.Code is ErrorCode.NotFound or ErrorCode.FailedPrecondition)
        {
            // What a fact points to is gone or damaged: that too is a finding, and "slipway verify" names it.
            return new EvidenceItem(query, null, [], DateTimeOffset.UnixEpoch, Moving: false);
        }
    }

    private void Row(IReadOnlyList<string> cells) => _body.Append("| ").AppendJoin(" | ", cells).AppendLine(" |");

    [GeneratedRegex("\u0001([^\u0002]*)\u0002")]
    private static partial Regex Moving();
}
