using System.Text;
using Slipway.Contracts;

namespace Slipway.Governance.ModelPages;

/// <summary>A folder of model pages: each file is replaced at once and only when its text is another; files that are not ours are left alone.</summary>
public sealed class PageFolder
{
    /// <summary>The first line of each page, by which it is known again.</summary>
    public const string Mark = "<!-- slipway: a page of the model registry; changes are overwritten -->";

    /// <summary>The page that lists the others.</summary>
    public const string IndexFile = "index.md";

    private const string Removed = "> **Removed**: the registry holds this model no more. What follows was true before.";

    private readonly string _folder;

    /// <summary>Makes the folder when it is absent.</summary>
    public PageFolder(string folder)
    {
        _folder = Path.GetFullPath(folder);
        Directory.CreateDirectory(_folder);
    }

    /// <summary>The file of a model's page: its name, with signs that a file system may not take as <c>%XX</c>.</summary>
    public static string FileOf(string model)
    {
        var name = new StringBuilder(model.Length + 3);
        foreach (var octet in Encoding.UTF8.GetBytes(model))
        {
            var plain = char.IsAsciiLetterOrDigit((char)octet) || octet is (byte)'_' or (byte)'-' || (octet == '.' && name.Length > 0);
            _ = plain ? name.Append((char)octet) : name.Append('%').Append(octet.ToString("X2", System.Globalization.CultureInfo.InvariantCulture));
        }

        // A model of this name would take the place of the list.
        return name.ToString().Equals("index", StringComparison.OrdinalIgnoreCase) ? $"%{(byte)name[0]:X2}{name.ToString()[1..]}.md" : $"{name}.md";
    }

    /// <summary>Writes a page.</summary>
    /// <returns>Whether it is new or was another.</returns>
    /// <exception cref="SlipwayException">FailedPrecondition: a file of that name is there and is not ours.</exception>
    public bool Write(string file, string content)
    {
        var path = Path.Combine(_folder, file);
        if (File.Exists(path))
        {
            var before = File.ReadAllText(path);
            if (before == content)
            {
                return false;
            }

            if (!before.StartsWith(Mark, StringComparison.Ordinal))
            {
                throw new SlipwayException(ErrorCode.FailedPrecondition, $"'{path}' is not a page of the registry; move it away, or choose another folder.");
            }
        }

        var partial = Path.Combine(_folder, $".{Guid.NewGuid():N}.part");
        try
        {
            File.WriteAllText(partial, content);
            File.Move(partial, path, overwrite: true);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }

        return true;
    }

    /// <summary>Marks the pages of models that are gone.</summary>
    /// <param name="files">The pages of the models there are.</param>
    /// <returns>The files that were marked now.</returns>
    public IReadOnlyList<string> MarkRemoved(IReadOnlyCollection<string> files)
    {
        var known = files.ToHashSet(StringComparer.Ordinal);
        var marked = new List<string>();
        foreach (var file in Directory.EnumerateFiles(_folder, "*.md").Select(path => Path.GetFileName(path)!).Where(file => file != IndexFile && !known.Contains(file)).Order(StringComparer.Ordinal))
        {
            var content = File.ReadAllText(Path.Combine(_folder, file));
            var heading = content.IndexOf("\n\n", StringComparison.Ordinal);
            if (content.StartsWith(Mark, StringComparison.Ordinal) && heading > 0 && !content.Contains(Removed, StringComparison.Ordinal)
                && Write(file, $"{content[..heading]}\n\n{Removed}{content[heading..]}"))
            {
                marked.Add(file);
            }
        }

        return marked;
    }
}
