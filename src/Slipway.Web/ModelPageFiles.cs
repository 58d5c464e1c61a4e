using Slipway.Governance.ModelPages;

namespace Slipway.Web;

/// <summary>Model pages in a folder on the caller's machine: what <c>slipway registry docs</c> does.</summary>
public static class ModelPageFiles
{
    /// <summary>Writes what has changed.</summary>
    /// <param name="folder">Made when absent.</param>
    /// <param name="pages">Pages of models.</param>
    /// <param name="index">The page that lists them; null when <paramref name="pages"/> are not all: then no page is marked as removed either.</param>
    /// <returns>The files that are new, were another, or were marked as removed.</returns>
    public static IReadOnlyList<string> Write(string folder, IReadOnlyList<(string File, string Content)> pages, string? index)
    {
        var target = new PageFolder(folder);
        var written = pages.Where(page => target.Write(page.File, page.Content)).Select(page => page.File).ToList();
        if (index is not null)
        {
            written.AddRange(target.MarkRemoved([.. pages.Select(page => page.File)]));
            if (target.Write(PageFolder.IndexFile, index))
            {
                written.Add(PageFolder.IndexFile);
            }
        }

        return written;
    }
}
