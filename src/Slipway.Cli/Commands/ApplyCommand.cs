using System.CommandLine;
using Slipway.Contracts;
using Slipway.Contracts.Host;
using Spectre.Console;

namespace Slipway.Cli.Commands;

/// <summary><c>slipway apply DIR</c>: sends a folder of definition files; uploads the data files they name.</summary>
internal static class ApplyCommand
{
    public static Command Create(ConnectionOptions connection)
    {
        var folder = new Argument<string>("path") { Description = "A folder of YAML definitions, or one file." };
        var dryRun = new Option<bool>("--dry-run") { Description = "Check and show what would change; store nothing." };
        var command = new Command("apply", "Apply definition files: datasets, features, pipelines, policies, requirements, monitors, rollouts, serving settings.") { folder, dryRun };
        command.SetAction(async (args, ct) =>
        {
            using var client = connection.Connect(args);
            var path = args.GetRequiredValue(folder);
            var files = Read(path);
            var response = await client.PostAsync<ApplyResponse>("definitions", new ApplyRequest(files, args.GetValue(dryRun)), ct);
            IReadOnlyList<UploadedDataset> uploaded = [];
            if (!args.GetValue(dryRun))
            {
                uploaded = await DatasetUpload.SendAsync(client, Directory.Exists(path) ? path : Path.GetDirectoryName(Path.GetFullPath(path))!, response, files, ConnectionOptions.ProgressConsole, ct);
            }

            _ = connection.Print(args, response, console =>
            {
                Draw(console, response);
                foreach (var dataset in uploaded)
                {
                    console.WriteLine(DatasetUpload.Describe(dataset));
                }
            });
            return uploaded.All(dataset => dataset.Validation.Passed) ? ExitCode.Ok : ExitCode.FailedCheck;
        });
        return command;
    }

    /// <summary>Reads a folder's definition files, subfolders included.</summary>
    internal static List<DefinitionFile> Read(string path)
    {
        if (File.Exists(path))
        {
            return [new DefinitionFile(Path.GetFileName(path), File.ReadAllText(path))];
        }

        if (!Directory.Exists(path))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"There is no file or folder '{path}'.");
        }

        var files = Directory.EnumerateFiles(path, "*.y*ml", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
            .Select(file => new DefinitionFile(Path.GetRelativePath(path, file), File.ReadAllText(file))).ToList();
        return files.Count > 0 ? files : throw new SlipwayException(ErrorCode.InvalidArgument, $"The folder '{path}' holds no .yaml file.");
    }

    internal static void Draw(IAnsiConsole console, ApplyResponse response)
    {
        var table = new Table().Border(TableBorder.Rounded).AddColumns("File", "Kind", "Name", "Change", "Version");
        foreach (var result in response.Results)
        {
            table.AddRow(Markup.Escape(result.Path), result.Kind, Markup.Escape(result.Name), result.Change, $"{result.Version}");
        }

        console.Write(table);
        foreach (var result in response.Results.Where(result => result.Diff.Count > 0))
        {
            console.WriteLine($"{result.Path}:");
            foreach (var line in result.Diff)
            {
                console.WriteLine($"  {line}");
            }
        }
    }
}
