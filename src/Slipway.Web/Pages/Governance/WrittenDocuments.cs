using Markdig;
using Markdig.Syntax;
using Slipway.Contracts;
using Slipway.Storage;

namespace Slipway.Web.Pages.Governance;

/// <summary>A written paper.</summary>
/// <param name="File">Its file name.</param>
/// <param name="Title">First heading, or the file name.</param>
/// <param name="At">When it was written.</param>
/// <param name="SizeBytes">Of the Markdown.</param>
public sealed record WrittenDocument(string File, string Title, DateTimeOffset At, long SizeBytes);

/// <summary>The papers in the data folder, for people to read.</summary>
public sealed class WrittenDocuments(StorageOptions storage)
{
    // Names and comments of users stand in the papers: HTML in them stays text.
    private static readonly MarkdownPipeline Markdown = new MarkdownPipelineBuilder().UsePipeTables().UseAutoIdentifiers().DisableHtml().Build();

    /// <summary>Newest first.</summary>
    public IReadOnlyList<WrittenDocument> List() => !Directory.Exists(storage.DocumentsDirectory) ? [] :
    [
        .. new DirectoryInfo(storage.DocumentsDirectory).EnumerateFiles("*.md")
            .Select(file => new WrittenDocument(file.Name, TitleOf(file.FullName), file.LastWriteTimeUtc, file.Length))
            .OrderByDescending(document => document.At).ThenBy(document => document.File, StringComparer.Ordinal),
    ];

    /// <summary>One paper as HTML, its headings one level down: the page has the first.</summary>
    /// <exception cref="SlipwayException">NotFound.</exception>
    public (WrittenDocument Document, string Html) Read(string file)
    {
        // Only a name from the listing is opened, so that no path leads out of the folder.
        var document = List().FirstOrDefault(known => known.File == file)
            ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no document '{file}'; the page Governance lists those that were written.");
        var parsed = Markdig.Markdown.Parse(File.ReadAllText(Path.Combine(storage.DocumentsDirectory, document.File)), Markdown);
        foreach (var heading in parsed.Descendants<HeadingBlock>())
        {
            heading.Level = Math.Min(6, heading.Level + 1);
        }

        return (document, parsed.ToHtml(Markdown));
    }

    private static string TitleOf(string path) =>
        File.ReadLines(path).Take(50).FirstOrDefault(line => line.StartsWith("# ", StringComparison.Ordinal)) is { } heading ? heading[2..].Trim() : Path.GetFileName(path);
}
