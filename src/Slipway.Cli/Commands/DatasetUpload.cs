using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Datasets;
using Slipway.Contracts.Host;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary>Uploads the data files that applied dataset definitions name.</summary>
internal static class DatasetUpload
{
    /// <summary>Sends each dataset's file, with a progress bar; the same bytes again give the same version.</summary>
    public static async Task<IReadOnlyList<DatasetVersion>> SendAsync(
        SlipwayClient client, string folder, ApplyResponse applied, IReadOnlyList<DefinitionFile> files, IAnsiConsole console, CancellationToken ct)
    {
        var versions = new List<DatasetVersion>();
        foreach (var result in applied.Results.Where(result => result.Kind == "dataset"))
        {
            var definition = files.First(file => file.Path == result.Path);
            if (FileOf(definition.Yaml) is not { } relative)
            {
                continue;
            }

            var path = Path.GetFullPath(Path.Combine(folder, Path.GetDirectoryName(result.Path) ?? "", relative));
            if (!File.Exists(path))
            {
                throw new SlipwayException(ErrorCode.InvalidArgument, $"{result.Path}: 'file' names {path}, which does not exist; fetch it (npm ci --prefix native for the example's data) or correct the path.");
            }

            await console.Progress().Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new TransferSpeedColumn()).StartAsync(async progress =>
            {
                await using var content = File.OpenRead(path);
                var task = progress.AddTask($"Upload {Path.GetFileName(path)}", maxValue: content.Length);
                versions.Add(await client.UploadAsync<DatasetVersion>(
                    $"datasets/{Uri.EscapeDataString(result.Name)}/versions", content, new DirectProgress(sent => task.Value = sent), ct));
                task.Value = task.MaxValue;
            });
        }

        return versions;
    }

    // The one key the command line reads by itself; the server checks the whole file.
    private static string? FileOf(string yaml) =>
        yaml.Split('\n').FirstOrDefault(line => line.StartsWith("file:", StringComparison.Ordinal)) is { } line
            ? line["file:".Length..].Split(" #")[0].Trim().Trim('"', '\'')
            : null;

    private sealed class DirectProgress(Action<long> report) : IProgress<long>
    {
        public void Report(long value) => report(value);
    }
}
