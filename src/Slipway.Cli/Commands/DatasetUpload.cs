using Slipway.Client;
using Slipway.Contracts;
using Slipway.Contracts.Datasets;
using Slipway.Contracts.Host;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary>A dataset version as stored, with the check of its rules.</summary>
internal sealed record UploadedDataset(DatasetVersion Version, ValidationReport Validation);

/// <summary>Uploads the data files that applied dataset definitions name, and checks them against their rules.</summary>
internal static class DatasetUpload
{
    /// <summary>Sends each dataset's file, with a progress bar; the same bytes again give the same version.</summary>
    public static async Task<IReadOnlyList<UploadedDataset>> SendAsync(
        SlipwayClient client, string folder, ApplyResponse applied, IReadOnlyList<DefinitionFile> files, IAnsiConsole console, CancellationToken ct)
    {
        var uploaded = new List<UploadedDataset>();
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
                var name = Uri.EscapeDataString(result.Name);
                var version = await client.UploadAsync<DatasetVersion>($"datasets/{name}/versions", content, new DirectProgress(sent => task.Value = sent), ct);
                task.Value = task.MaxValue;
                uploaded.Add(new UploadedDataset(version, await client.PostAsync<ValidationReport>($"datasets/{name}/versions/{version.Version}/validate", null, ct)));
            });
        }

        return uploaded;
    }

    internal static string Describe(UploadedDataset uploaded)
    {
        var (version, report) = uploaded;
        var broken = report.Checks.Count(check => !check.Passed);
        return $"{version.Name}@{version.Version}: {version.Rows:N0} rows, sha256 {version.Sha256[..12]}…; {report.Checks.Count} checks, " +
            (broken == 0 ? "all passed" : $"{broken} not ({string.Join("; ", report.Checks.Where(check => !check.Passed).Select(check => check.Message))}), version {(report.Passed ? "accepted" : "blocked")}");
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
